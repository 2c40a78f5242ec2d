// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

const (
	privateType = "PRIVATE KEY"
	publicType  = "PUBLIC KEY"

	// nameLine stands above a public key's PEM block, where RFC 7468, section
	// 5.2 allows text, so that the key can be read and compared by eye.
	nameLine = "ed25519-public-key-"

	maxKeyFile = 64 << 10
)

// PEM returns the key as a text line with its hexadecimal digits and a PEM block
// with its SubjectPublicKeyInfo (RFC 8410): a file for openssl, cosign and
// people. Empty for the zero Public.
func (p Public) PEM() []byte {
	if !p.set {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(p.key[:]))
	if err != nil {
		return nil // not reachable: the type is one that x509 knows
	}
	name := nameLine + hex.EncodeToString(p.key[:]) + "\n"
	return append([]byte(name), pem.EncodeToMemory(&pem.Block{Type: publicType, Bytes: der})...)
}

// LoadPrivate reads a PKCS#8 PEM file. A file that anybody but its owner may
// read or write, a symbolic link, and anything but one Ed25519 private key are
// refused with errors that match [ErrKey] and say what to do; a file that is
// not there gives one that matches [fs.ErrNotExist].
func LoadPrivate(path string) (Private, error) {
	data, info, err := readFile(path, noFollow)
	if err != nil {
		return Private{}, fmt.Errorf("reading private key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return Private{}, fmt.Errorf("%w: %s can be used by others (mode %04o); chmod 600 it, and replace it if others can have read it", ErrKey, path, mode)
	}
	key, err := parsePrivate(data)
	if err != nil {
		return Private{}, fmt.Errorf("reading private key %s: %w", path, err)
	}
	return key, nil
}

func parsePrivate(data []byte) (Private, error) {
	block, err := onlyBlock(data, nil)
	if err != nil {
		return Private{}, err
	}
	switch block.Type {
	case privateType:
	case publicType:
		return Private{}, fmt.Errorf("%w: this is a public key", ErrKey)
	default:
		return Private{}, fmt.Errorf("%w: it holds a %q, not an unencrypted PKCS#8 %q", ErrKey, block.Type, privateType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Private{}, fmt.Errorf("%w: not PKCS#8", ErrKey) // the parser's text may quote the key
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return Private{}, fmt.Errorf("%w: not an Ed25519 key", ErrKey)
	}
	return privateOf(key), nil
}

// LoadPublic reads a public key from a file as [Public.PEM] writes it; the text
// line above the block may be missing, but may not name another key. A private
// key handed in by mistake, several keys, weak keys, other types and trailing
// data are refused with errors that match [ErrKey].
func LoadPublic(path string) (Public, error) {
	data, _, err := readFile(path, 0)
	if err != nil {
		return Public{}, fmt.Errorf("reading public key: %w", err)
	}
	key, err := parsePublicPEM(data)
	if err != nil {
		return Public{}, fmt.Errorf("reading public key %s: %w", path, err)
	}
	return key, nil
}

func parsePublicPEM(data []byte) (Public, error) {
	var above []byte
	block, err := onlyBlock(data, &above)
	if err != nil {
		return Public{}, err
	}
	if strings.HasSuffix(block.Type, privateType) {
		return Public{}, fmt.Errorf("%w: this is a private key; keep it where it was and give its public.key", ErrKey)
	}
	if block.Type != publicType {
		return Public{}, fmt.Errorf("%w: it holds a %q, not a %q", ErrKey, block.Type, publicType)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Public{}, fmt.Errorf("%w: not a SubjectPublicKeyInfo", ErrKey)
	}
	raw, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return Public{}, fmt.Errorf("%w: not an Ed25519 key", ErrKey)
	}
	key, err := publicOf(raw)
	if err != nil {
		return Public{}, err
	}
	for line := range strings.Lines(string(above)) {
		if digits, ok := strings.CutPrefix(strings.TrimSpace(line), nameLine); ok && prefix+digits != key.String() {
			return Public{}, fmt.Errorf("%w: its first line names another key than the block below", ErrKey)
		}
	}
	return key, nil
}

// onlyBlock returns the one PEM block of the data. Text above it is an error
// unless above takes it; anything but white space below it always is.
func onlyBlock(data []byte, above *[]byte) (*pem.Block, error) {
	start := bytes.Index(data, []byte("-----BEGIN "))
	if start < 0 {
		return nil, fmt.Errorf("%w: no PEM block in it", ErrKey)
	}
	if above != nil {
		*above = data[:start]
	} else if start > 0 {
		return nil, fmt.Errorf("%w: text stands above the PEM block", ErrKey)
	}
	block, rest := pem.Decode(data[start:])
	if block == nil || len(block.Headers) > 0 {
		return nil, fmt.Errorf("%w: damaged PEM block", ErrKey)
	}
	if bytes.Contains(rest, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%w: several keys in one file", ErrKey)
	}
	// Comparing with the one spelling of the block also refuses a damaged
	// first block that the decoder skipped.
	if text := pem.EncodeToMemory(block); !bytes.Equal(bytes.TrimSpace(data[start:]), bytes.TrimSpace(text)) {
		return nil, fmt.Errorf("%w: damaged PEM block, or text below it", ErrKey)
	}
	return block, nil
}

// readFile reads a small regular file without waiting for anybody, should it
// be a FIFO.
func readFile(path string, flag int) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|flag, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, nil, fmt.Errorf("%w: %s is a symbolic link", ErrKey, path)
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%w: %s is no regular file", ErrKey, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxKeyFile {
		return nil, nil, fmt.Errorf("%w: %s is larger than any key", ErrKey, path)
	}
	return data, info, nil
}
