// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"encoding/gob"
)

// MarshalBinary returns all that the Tree holds, for another process of the
// same build: unlike a listing it keeps permission bits, targets and SHA-256.
// The bytes are no stable format and are not to be stored or hashed.
func (t Tree) MarshalBinary() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(t.entries)
	return b.Bytes(), err
}

// UnmarshalBinary reads what MarshalBinary wrote. Errors match [ErrInvalid]
// where the entries are no Tree.
func (t *Tree) UnmarshalBinary(data []byte) error {
	var entries []Entry
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&entries); err != nil {
		return err
	}
	read, err := New(entries)
	if err != nil {
		return err
	}
	*t = read
	return nil
}
