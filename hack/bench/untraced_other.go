// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "errors"

func untraced([]string) error { return errors.ErrUnsupported }
