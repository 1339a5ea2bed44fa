package client

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
	"google.golang.org/protobuf/proto"
)

// metaDraft holds the number of the newest draft, 8 bytes.
const metaDraft = "draft_number"

// numberDrafts gives a number to the drafts that have none, or whose versions are used up.
func (t *tx) numberDrafts() error {
	var keys []string
	err := t.rows(`SELECT key FROM draft WHERE n = 0 OR version >= $1 ORDER BY at, key`, []any{int64(seal.DraftDropped)}, func(scan func(...any) error) error {
		var key string
		err := scan(&key)
		keys = append(keys, key)
		return err
	})
	if err != nil || len(keys) == 0 {
		return err
	}
	newest := uint64(0)
	raw, err := t.meta(metaDraft)
	if err != nil {
		return err
	}
	if len(raw) == 8 {
		newest = binary.BigEndian.Uint64(raw)
	}
	for _, key := range keys {
		newest++
		if err := t.exec(`UPDATE draft SET n = $1, version = 1 WHERE key = $2`, int64(newest), key); err != nil {
			return err
		}
	}
	return t.setMeta(metaDraft, binary.BigEndian.AppendUint64(nil, newest))
}

// draftRow is a draft with its number.
type draftRow struct {
	Draft

	n, version uint64
}

// numberedDrafts returns the drafts by number: those without their bodies that have the
// file's newest version already.
func (c *Client) numberedDrafts(ctx context.Context, sealed map[uint64]uint64) (rows []draftRow, err error) {
	err = c.store.read(ctx, "reading drafts", func(rtx *sql.Tx) error {
		found, err := rtx.QueryContext(ctx, `SELECT n, version, key, at FROM draft ORDER BY n`)
		if err != nil {
			return err
		}
		err = eachRow(found, func(scan func(...any) error) error {
			var d draftRow
			err := scan(&d.n, &d.version, &d.Key, &d.AtMS)
			rows = append(rows, d)
			return err
		})
		if err != nil {
			return err
		}
		for i := range rows {
			d := &rows[i]
			if d.n == 0 || sealed[d.n] >= d.version {
				continue
			}
			if err := rtx.QueryRowContext(ctx, `SELECT body FROM draft WHERE key = $1`, d.Key).Scan(&d.Body); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

// sealDrafts seals the drafts that the file lacks, and says in it which are no more. What
// cannot be sealed is in the store all the same; it is tried again with the next one.
func (c *Client) sealDrafts(ctx context.Context) {
	f := c.sealed()
	if f == nil {
		return
	}
	if err := c.sealDraftsIn(context.WithoutCancel(ctx), f); err != nil && !errors.Is(err, ErrClosed) {
		c.log.Error().Err(err).Msg("drafts not sealed")
	}
}

func (c *Client) sealDraftsIn(ctx context.Context, f *sealedFile) error {
	// One at a time: what is newer is sealed later.
	f.drafting.Lock()
	defer f.drafting.Unlock()
	sealed := f.draftsOf(f.me.replica)
	rows, err := c.numberedDrafts(ctx, sealed)
	if err != nil {
		return err
	}
	var fresh []*seal.Draft
	there := map[uint64]bool{}
	for i := range rows {
		d := &rows[i]
		there[d.n] = true
		if d.n == 0 || sealed[d.n] >= d.version {
			continue
		}
		raw, err := c.draftChange(d)
		if err != nil {
			return err
		}
		fresh = append(fresh, &seal.Draft{Number: seal.DraftNumber(d.n, d.version), Raw: raw})
	}
	for n, version := range sealed {
		if !there[n] && version != seal.DraftDropped {
			fresh = append(fresh, &seal.Draft{Number: seal.DraftNumber(n, seal.DraftDropped)})
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return f.draft(fresh)
}

// draftChange is what is sealed of a draft.
func (c *Client) draftChange(d *draftRow) ([]byte, error) {
	me, err := c.identity()
	if err != nil {
		return nil, err
	}
	id, err := c.newID()
	if err != nil {
		return nil, err
	}
	now := c.clock.now()
	change := &tandemv1.Change{
		Id: id[:], Author: me.answer.GetPerson(), Device: me.answer.GetDevice(), Class: tandemv1.Class_CLASS_NORMAL,
		Schema: syncengine.Schema, AppVersion: c.opts.Version,
		Time:  &tandemv1.ChangeTime{WallMs: d.AtMS, OffsetMs: now.offset(), OffsetKnown: now.ServerMS != 0},
		Draft: &tandemv1.TypedDraft{Key: d.Key, Body: d.Body},
	}
	raw, err := proto.Marshal(change)
	if err != nil {
		return nil, fmt.Errorf("encoding a draft: %w", err)
	}
	return raw, nil
}

// draft seals versions of drafts, and returns when they are on the disk.
func (s *sealedFile) draft(drafts []*seal.Draft) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.put(func(dst []byte) []byte {
		for _, d := range drafts {
			d.Signature = seal.SignDraft(s.me.key, d.Number, d.Raw)
			dst = s.session.AppendDraft(dst, d)
		}
		return dst
	})
}

// draftsOf returns the newest version of each draft of a replica that stands in the file.
func (s *sealedFile) draftsOf(replica syncengine.ID) map[uint64]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return newestDrafts(s.entries, replica)
}

func newestDrafts(entries []sealedEntry, replica syncengine.ID) map[uint64]uint64 {
	newest := map[uint64]uint64{}
	for i := range entries {
		if e := &entries[i]; e.kind == seal.KindDraft && e.replica == replica {
			n, version := seal.DraftOf(e.number)
			newest[n] = max(newest[n], version)
		}
	}
	return newest
}

// staleDrafts are the places in the file of versions of drafts that a later one has
// replaced, whether it is there or says that the draft is no more; all of those drafts,
// where dropped asks for that.
func staleDrafts(entries []sealedEntry, dropped bool) map[int64]bool {
	newest := map[syncengine.ID]map[uint64]uint64{}
	stale := map[int64]bool{}
	for i := range entries {
		e := &entries[i]
		if e.kind != seal.KindDraft {
			continue
		}
		if newest[e.replica] == nil {
			newest[e.replica] = newestDrafts(entries, e.replica)
		}
		n, version := seal.DraftOf(e.number)
		if last := newest[e.replica][n]; version < last || dropped && last == seal.DraftDropped {
			stale[e.offset] = true
		}
	}
	return stale
}
