package store

import (
	"bytes"
	"database/sql"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// attachmentKind is the number of the kind whose records name bytes.
var attachmentKind = func() uint32 {
	rules, _ := proto.GetExtension((&tandemv1.Attachment{}).ProtoReflect().Descriptor().Options(), tandemv1.E_Kind).(*tandemv1.KindRules)
	return rules.GetNumber()
}()

// lifecycleVoid is the lifecycle of a record that somebody has voided.
const lifecycleVoid = "void"

// attachment notes what a record says of its file, where it is one that has one.
func (c *check) attachment(rec *syncengine.StoredRecord) {
	a := &tandemv1.Attachment{}
	if rec.Kind != attachmentKind || proto.Unmarshal(rec.Body, a) != nil || a.Text != nil {
		return
	}
	c.files[rec.ID] = a
}

// blobs compares the bytes that are stored with the records that name them.
func (c *check) blobs() error {
	var all []*Blob
	err := c.c.each("SELECT record, size, held, complete FROM blob WHERE org = $1 ORDER BY record", []any{c.org.num}, func(rows *sql.Rows) error {
		b := &Blob{}
		var complete int64
		err := rows.Scan((*scanID)(&b.Record), &b.Size, &b.Held, &complete)
		b.Complete = complete != 0
		all = append(all, b)
		return err
	})
	if err != nil {
		return err
	}
	for _, b := range all {
		hash, size, err := c.BlobHash(b.Record)
		if err != nil {
			c.r.fault("file of record %s: %v", b.Record, err)
			continue
		}
		a := c.files[b.Record]
		switch {
		case a == nil:
			c.r.fault("file of record %s: no record names it", b.Record)
		case size != b.Held || b.Held > b.Size || b.Size != int64(a.GetSize()):
			c.r.fault("file of record %s: %d bytes are there, not %d of %d", b.Record, size, b.Held, a.GetSize())
		case b.Complete && (b.Held != b.Size || !bytes.Equal(hash[:], a.GetSha256())):
			c.r.fault("file of record %s: its bytes are not those that were attached", b.Record)
		case b.Complete:
			c.r.Files++
			delete(c.files, b.Record)
		}
	}
	for _, a := range c.files {
		if a.GetLifecycle() != lifecycleVoid {
			c.r.Awaited++
		}
	}
	var strays int64
	if _, err := c.c.one("SELECT COUNT(DISTINCT record) FROM blob_chunk WHERE org = $1 AND record NOT IN (SELECT record FROM blob WHERE org = $1)", []any{c.org.num}, &strays); err != nil {
		return err
	}
	if strays > 0 {
		c.r.fault("%d files are there of which nothing is known", strays)
	}
	return nil
}
