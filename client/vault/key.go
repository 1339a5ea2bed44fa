package vault

import "crypto/rand"

// KeySize is that of a data key.
const KeySize = 32

// DataKey is what a store is sealed with. Drop it when it is done with.
type DataKey struct{ b [KeySize]byte }

// NewDataKey draws one.
func NewDataKey() *DataKey {
	k := &DataKey{}
	_, _ = rand.Read(k.b[:])
	return k
}

// Drop forgets it.
func (k *DataKey) Drop() { clear(k.b[:]) }

// String hides it.
func (*DataKey) String() string { return "(key)" }

// GoString hides it.
func (*DataKey) GoString() string { return "(key)" }
