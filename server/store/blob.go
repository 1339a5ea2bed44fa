package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"

	"github.com/tandem-response/tandem/syncengine"
)

// Blob is how far the bytes of an attachment have come.
type Blob struct {
	// Record is the attachment, Size the number of its bytes, Held how many of them are
	// there, from the beginning.
	Record     syncengine.ID
	Size, Held int64
	// Complete: all are there, and have the hash that the record names.
	Complete bool
	// Person brings them, BegunMS is since when. Wasted are bytes that came since and were
	// others than the record names.
	Person          syncengine.ID
	BegunMS, Wasted int64
}

// Blob returns how far the bytes of an attachment have come, nil for not at all.
func (v *view) Blob(record syncengine.ID) (*Blob, error) {
	b := &Blob{Record: record}
	var complete int64
	ok, err := v.c.one("SELECT size, held, complete, person, begun_ms, wasted FROM blob WHERE org = $1 AND record = $2", []any{v.org.num, record[:]},
		&b.Size, &b.Held, &complete, (*scanID)(&b.Person), &b.BegunMS, &b.Wasted)
	if err != nil || !ok {
		return nil, err
	}
	b.Complete = complete != 0
	return b, nil
}

// BlobBytes returns those bytes of an attachment that are there.
func (s *Store) BlobBytes(ctx context.Context, org, record syncengine.ID) (data []byte, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) error {
		b, err := v.Blob(record)
		if err != nil || b == nil {
			return err
		}
		data, err = v.BlobRange(record, 0, int(b.Held))
		return err
	})
	return data, err
}

// BlobRange returns up to limit bytes of an attachment from an offset on.
func (v *view) BlobRange(record syncengine.ID, offset int64, limit int) (data []byte, err error) {
	// The piece in which the range begins is the last that begins no later.
	err = v.c.each(`SELECT at, data FROM blob_chunk WHERE org = $1 AND record = $2 AND at < $4
			AND at >= COALESCE((SELECT MAX(at) FROM blob_chunk WHERE org = $1 AND record = $2 AND at <= $3), 0) ORDER BY at`,
		[]any{v.org.num, record[:], offset, offset + int64(limit)}, func(rows *sql.Rows) error {
			var at int64
			var piece []byte
			if err := rows.Scan(&at, &piece); err != nil {
				return err
			}
			from := offset + int64(len(data)) - at
			if from < 0 {
				return fmt.Errorf("bytes of an attachment: %w", ErrDamaged)
			}
			if from < int64(len(piece)) {
				data = append(data, piece[from:min(int64(len(piece)), from+int64(limit-len(data)))]...)
			}
			return nil
		})
	return data, err
}

// BlobHash returns the hash of the bytes of an attachment that are there, and how many
// they are.
func (v *view) BlobHash(record syncengine.ID) (hash syncengine.Hash, size int64, err error) {
	h := sha256.New()
	err = v.c.each("SELECT at, data FROM blob_chunk WHERE org = $1 AND record = $2 ORDER BY at", []any{v.org.num, record[:]},
		func(rows *sql.Rows) error {
			var at int64
			var piece []byte
			if err := rows.Scan(&at, &piece); err != nil {
				return err
			}
			if at != size {
				return fmt.Errorf("bytes of an attachment: %w", ErrDamaged)
			}
			size += int64(len(piece))
			_, err := h.Write(piece)
			return err
		})
	return syncengine.Hash(h.Sum(nil)), size, err
}

// SaveBlob stores how far the bytes of an attachment have come.
func (tx *Tx) SaveBlob(b *Blob) error {
	tx.writes++
	return tx.c.exec(`INSERT INTO blob (org, record, size, held, complete, person, begun_ms, wasted) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (org, record) DO UPDATE SET size = $3, held = $4, complete = $5, person = $6, begun_ms = $7, wasted = $8`,
		tx.org.num, b.Record[:], b.Size, b.Held, boolArg(b.Complete), b.Person[:], b.BegunMS, b.Wasted)
}

// AddBlobChunk stores a piece of an attachment.
func (tx *Tx) AddBlobChunk(record syncengine.ID, at int64, data []byte) error {
	tx.writes++
	return tx.c.exec("INSERT INTO blob_chunk (org, record, at, data) VALUES ($1, $2, $3, $4)", tx.org.num, record[:], at, data)
}

// DropBlobChunks removes the bytes of an attachment.
func (tx *Tx) DropBlobChunks(record syncengine.ID) error {
	tx.writes++
	return tx.c.exec("DELETE FROM blob_chunk WHERE org = $1 AND record = $2", tx.org.num, record[:])
}

// BlobBytesSince sums what a person has brought from a time on: the sizes of the files that
// were begun, but for that of one record, and what came and was not what its record names.
func (tx *Tx) BlobBytesSince(person, but syncengine.ID, atMS int64) (sum int64, err error) {
	_, err = tx.c.one(`SELECT CAST(COALESCE(SUM(wasted + CASE WHEN record = $4 THEN 0 ELSE size END), 0) AS BIGINT)
		FROM blob WHERE org = $1 AND person = $2 AND begun_ms >= $3`, []any{tx.org.num, person[:], atMS, but[:]}, &sum)
	return sum, err
}

// BlobReading notes that a replica reads the bytes of an attachment, and reports whether
// that was noted since a time; then it stays as it was. Where it begins to read, it is
// noted anew.
func (tx *Tx) BlobReading(record, replica syncengine.ID, begins bool, nowMS, sinceMS int64) (noted bool, err error) {
	at := int64(0)
	noted, err = tx.c.one("SELECT at_ms FROM blob_read WHERE org = $1 AND record = $2 AND replica = $3 AND at_ms > $4", []any{tx.org.num, record[:], replica[:], sinceMS}, &at)
	if err != nil || noted && !begins {
		return noted, err
	}
	tx.writes++
	if err := tx.c.exec("DELETE FROM blob_read WHERE org = $1 AND at_ms <= $2", tx.org.num, sinceMS); err != nil {
		return false, err
	}
	return false, tx.c.exec(`INSERT INTO blob_read (org, record, replica, at_ms) VALUES ($1, $2, $3, $4)
		ON CONFLICT (org, record, replica) DO UPDATE SET at_ms = $4`, tx.org.num, record[:], replica[:], nowMS)
}
