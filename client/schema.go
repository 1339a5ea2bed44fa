package client

import (
	"bytes"
	"encoding/binary"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// metaSchemas holds the oldest schema versions that the server takes writes of and
// sends records to, as it said last: 4 bytes each, big endian. Absent for none.
const metaSchemas = "server_schemas"

// noteSchemas keeps what the server asks of an app's version.
func (t *tx) noteSchemas(trailer *tandemv1.Trailer) error {
	asked := binary.BigEndian.AppendUint32(nil, trailer.GetMinWriteSchema())
	asked = binary.BigEndian.AppendUint32(asked, trailer.GetMinReadSchema())
	kept, err := t.meta(metaSchemas)
	if err != nil || bytes.Equal(kept, asked) {
		return err
	}
	if kept == nil && updateWords(asked) == "" {
		return nil
	}
	return t.setMeta(metaSchemas, asked)
}

// updateWords says what a server that asks for newer versions means for this one,
// empty for nothing.
func updateWords(asked []byte) string {
	if len(asked) != 2*4 {
		return ""
	}
	write, read := binary.BigEndian.Uint32(asked), binary.BigEndian.Uint32(asked[4:])
	switch {
	case read > syncengine.Schema:
		return "the server no longer sends records to this version of the app: update it; what is here can be read, and what is saved stays here and is sent"
	case write > syncengine.Schema:
		return "the server no longer applies what this version of the app writes: update it; what is saved stays here, is sent, and is kept there until it can be applied"
	}
	return ""
}
