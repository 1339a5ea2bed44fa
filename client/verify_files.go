package client

import (
	"bytes"
	"crypto/sha256"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// verifyFiles checks the bytes of files. One that waits to be sent must be whole: its bytes
// are nowhere else.
func (c *Client) verifyFiles(t *tx, v *Verification) error {
	type file struct {
		id                syncengine.ID
		size, held, state int64
	}
	var files []file
	err := t.rows(`SELECT record, size, held, state FROM blob ORDER BY record`, nil, func(scan func(...any) error) error {
		var f file
		err := scan((*idColumn)(&f.id), &f.size, &f.held, &f.state)
		files = append(files, f)
		return err
	})
	if err != nil {
		return err
	}
	whole := map[syncengine.ID]bool{}
	for _, f := range files {
		sum, size, err := t.sumParts(f.id)
		if err != nil {
			return err
		}
		a, err := c.attachmentOf(t, f.id)
		switch {
		case err != nil:
			return err
		case size != f.held || f.held > f.size:
			v.fault("file of record %s: %d bytes are here, not %d", f.id, size, f.held)
		case f.held < f.size && f.state != fileStored:
			v.fault("file of record %s: it is to be sent, and %d of its %d bytes are missing", f.id, f.size-f.held, f.size)
		case f.held < f.size:
		case a != nil && !bytes.Equal(sum, a.GetSha256()):
			v.fault("file of record %s: its bytes are not those that were attached", f.id)
		default:
			v.Files++
			whole[f.id] = true
		}
	}
	strays := 0
	if err := t.row(`SELECT count(DISTINCT record) FROM blob_part WHERE record NOT IN (SELECT record FROM blob)`, nil, &strays); err != nil {
		return err
	}
	if strays > 0 {
		v.fault("%d files are here of which nothing is known", strays)
	}
	return t.rows(`SELECT `+recordColumns+` FROM rec WHERE kind = $1`, []any{int64(attachmentKind)}, func(scan func(...any) error) error {
		_, r, err := scanRecord(scan)
		if err != nil || whole[r.ID] {
			return err
		}
		msg, err := record.New().Message(&r.Record)
		if a, ok := msg.(*tandemv1.Attachment); err == nil && ok && a.Text == nil && a.GetLifecycle() != record.Void {
			v.Elsewhere++
		}
		return nil
	})
}

// sumParts hashes what is here of a file, up to the first part that does not follow.
func (t *tx) sumParts(id syncengine.ID) (sum []byte, size int64, err error) {
	h := sha256.New()
	err = t.rows(`SELECT at, data FROM blob_part WHERE record = $1 ORDER BY at`, []any{id[:]}, func(scan func(...any) error) error {
		var at int64
		var data []byte
		if err := scan(&at, &data); err != nil || at != size {
			return err
		}
		size += int64(len(data))
		_, err := h.Write(data)
		return err
	})
	return h.Sum(nil), size, err
}

// attachmentOf reads the record of a file, nil where it is not here or cannot be read.
func (c *Client) attachmentOf(t *tx, id syncengine.ID) (*tandemv1.Attachment, error) {
	r, err := t.Record(id)
	if err != nil || r == nil {
		return nil, err
	}
	msg, err := record.New().Message(&r.Record)
	a, ok := msg.(*tandemv1.Attachment)
	if err != nil || !ok {
		// That is told of with the records.
		return nil, nil //nolint:nilerr // See above.
	}
	return a, nil
}
