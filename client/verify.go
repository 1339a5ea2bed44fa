package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Verification is what Verify found.
type Verification struct {
	// Records and Changes that were checked.
	Records, Changes int
	// Files whose bytes are whole here and were checked; Elsewhere are those of attachments
	// whose bytes are not, or not all.
	Files, Elsewhere int
	// Scopes, with the digest computed anew.
	Scopes []ScopeVerification
	// Faults, in words with ids; empty where all is well.
	Faults []string
}

// ScopeVerification is one scope.
type ScopeVerification struct {
	// ID is its wire id in hex, Digest computed anew, in hex.
	ID, Digest string
	// Compartment, Open and Ready as in ScopeStatus.
	Compartment tandemv1.Compartment
	Open, Ready bool
	// Records is the number of its records.
	Records int
	// VerifiedMS is when its digest last equalled the server's, 0 for never.
	// Differs: at the newest cut it did not.
	VerifiedMS int64
	Differs    bool
}

// OK reports whether nothing is at fault.
func (v *Verification) OK() bool { return len(v.Faults) == 0 }

func (v *Verification) fault(format string, args ...any) {
	// A store that is damaged throughout need not be told of a thousand times.
	if most := 100; len(v.Faults) < most {
		v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
	}
}

// Verify checks the whole store: the database, each record against its hash, what it
// shows against the changes that made it, its columns and its words, each scope's digest, computed anew, against the one kept
// and the server's at the newest cut, the hash chain of the own changes, and the bytes of
// files against the hashes that their records name. It changes nothing; saves wait while it runs.
func (c *Client) Verify(ctx context.Context) (*Verification, error) {
	v := &Verification{}
	err := c.store.write(ctx, "verifying the store", func(t *tx) error {
		// What is in memory says nothing of the disk.
		t.known = known{ops: map[uint64]*opEntry{}}
		for _, check := range []func(*tx, *Verification) error{
			verifyDatabase, c.verifyRecords, c.verifyShown, c.verifyWords, verifyOutbox, c.verifyFiles,
		} {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := check(t, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func verifyDatabase(t *tx, v *Verification) error {
	if sealed := t.s.vault; sealed != nil {
		faults, err := sealed.fs.Check()
		if err != nil {
			return vaultError("verifying the store", err)
		}
		for _, f := range faults {
			v.fault("%s", f)
		}
	}
	return t.rows(`PRAGMA integrity_check(20)`, nil, func(scan func(...any) error) error {
		var line string
		if err := scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			v.fault("database: %s", line)
		}
		return nil
	})
}

func (c *Client) verifyRecords(t *tx, v *Verification) error {
	scopes, err := t.Scopes()
	if err != nil {
		return err
	}
	differing, err := t.meta(metaDiffering)
	if err != nil {
		return err
	}
	sums, counts := map[uint8]syncengine.Sum{}, map[uint8]int{}
	err = t.rows(`SELECT `+recordColumns+` FROM rec`, nil, func(scan func(...any) error) error {
		_, r, err := scanRecord(scan)
		if err != nil {
			return err
		}
		v.Records++
		c.verifyRecord(r, v)
		for i := range scopes {
			if bit := scopes[i].Bit; r.HasBase && r.Scopes&(1<<bit) != 0 {
				sums[bit] = sums[bit].Add(syncengine.Term(r.ID, r.BaseHash))
				counts[bit]++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := verifyShown(t, v); err != nil {
		return err
	}
	for i := range scopes {
		sc := &scopes[i]
		out := ScopeVerification{
			ID: hex.EncodeToString(sc.ID[:]), Digest: sums[sc.Bit].String(), Compartment: sc.Compartment,
			Open: sc.Open, Ready: sc.Ready, Records: counts[sc.Bit], VerifiedMS: sc.VerifiedMS,
		}
		for ids := differing; len(ids) >= len(sc.ID); ids = ids[len(sc.ID):] {
			out.Differs = out.Differs || syncengine.ScopeID(ids[:len(sc.ID)]) == sc.ID
		}
		if sums[sc.Bit] != sc.Sum {
			v.fault("scope %s: its records do not add up to its digest", out.ID)
		}
		if out.Differs {
			v.fault("scope %s: at the newest cut its digest was not the server's", out.ID)
		}
		v.Scopes = append(v.Scopes, out)
	}
	return nil
}

// verifyShown checks the records whose hash is kept because they wait for the
// server's word.
func verifyShown(t *tx, v *Verification) error {
	return t.rows(`SELECT id, body, stamps, hash FROM rec WHERE hash IS NOT NULL`, nil, func(scan func(...any) error) error {
		var r syncengine.Record
		var hash int64
		if err := scan((*idColumn)(&r.ID), &r.Body, &r.Stamps, &hash); err != nil {
			return err
		}
		if r.Hash() != syncengine.RowHash(hash) {
			v.fault("record %s does not have the hash it was saved with", r.ID)
		}
		return nil
	})
}

func (c *Client) verifyRecord(r *syncengine.DeviceRecord, v *Verification) {
	if _, err := syncengine.Decode(&r.Record); err != nil {
		v.fault("record %s cannot be read", r.ID)
	}
	base := &r.Record
	if r.Base != nil {
		base = r.Base
	}
	if r.HasBase && base.Hash() != r.BaseHash {
		v.fault("record %s does not have the hash it came with", r.ID)
	}
	if r.Pending == 0 && (r.Base != nil || !r.HasBase) {
		v.fault("record %s shows changes that are not in the outbox", r.ID)
	}
}

// verifyShown computes anew what the records show under own changes.
func (c *Client) verifyShown(t *tx, v *Verification) error {
	var pending []*syncengine.DeviceRecord
	err := t.rows(`SELECT `+recordColumns+` FROM rec WHERE pending > 0`, nil, func(scan func(...any) error) error {
		_, r, err := scanRecord(scan)
		pending = append(pending, r)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range pending {
		shown, err := c.device.Shown(t, r)
		if err != nil {
			return err
		}
		if shown == nil || !bytes.Equal(shown.Body, r.Body) || !bytes.Equal(shown.Stamps, r.Stamps) || shown.Kind != r.Kind {
			v.fault("record %s does not show what its changes made of it", r.ID)
		}
	}
	return nil
}

// verifyWords compares the index of names with the records.
func (c *Client) verifyWords(t *tx, v *Verification) error {
	if err := t.exec(`INSERT INTO name (name) VALUES ('integrity-check')`); err != nil {
		v.fault("the index of names is damaged")
		return nil //nolint:nilerr // It is reported.
	}
	indexed := map[int64]string{}
	err := t.rows(`SELECT rowid, words FROM name`, nil, func(scan func(...any) error) error {
		var n int64
		var words string
		err := scan(&n, &words)
		indexed[n] = words
		return err
	})
	if err != nil {
		return err
	}
	for number, k := range c.cols.kinds {
		if !k.words {
			continue
		}
		err := t.rows(`SELECT `+recordColumns+` FROM rec WHERE kind = $1`, []any{int64(number)}, func(scan func(...any) error) error {
			n, r, err := scanRecord(scan)
			if err != nil {
				return err
			}
			words, err := c.cols.words(&r.Record)
			if err != nil || words != indexed[n] {
				v.fault("record %s is not found by its names", r.ID)
			}
			delete(indexed, n)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(indexed) > 0 {
		v.fault("the index of names holds %d entries of no record", len(indexed))
	}
	return nil
}

// verifyOutbox follows the hash chain of the own changes.
func verifyOutbox(t *tx, v *Verification) error {
	st, err := t.State()
	if err != nil {
		return err
	}
	var prev syncengine.Hash
	next := uint64(1)
	err = t.rows(`SELECT `+opColumns+opTables+`ORDER BY o.op`, nil, func(scan func(...any) error) error {
		op, err := scanOp(scan)
		if err != nil {
			return err
		}
		v.Changes++
		if op.Number != next {
			v.fault("own change %d is missing", next)
		}
		if op.Raw == nil && op.State != syncengine.OpSettled {
			v.fault("own change %d has lost its bytes", op.Number)
		}
		if op.Raw != nil && syncengine.HashEnvelope(st.Replica, op.Number, prev, sha256.Sum256(op.Raw)) != op.Envelope {
			v.fault("own change %d does not have the hash it was saved with", op.Number)
		}
		prev, next = op.Envelope, op.Number+1
		return nil
	})
	if err != nil {
		return err
	}
	if next != st.NextOp || prev != st.LastHash {
		v.fault("the own changes do not end where the device stands")
	}
	return nil
}
