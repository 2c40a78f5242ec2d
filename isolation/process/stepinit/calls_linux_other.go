// SPDX-License-Identifier: Apache-2.0

//go:build linux && !amd64 && !arm64

package stepinit

func architectures() map[uint32]map[uint32]Call { return nil }
