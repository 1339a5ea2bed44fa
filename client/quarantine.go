package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Errors of what is done about saves that were not accepted.
var (
	// ErrAccepted: the save is not one that waits for a decision.
	ErrAccepted = errors.New("that save is not one that was refused and still waits: see what there is with tandem quarantine list")
	// ErrLookAgain: the save signs a screen that is no longer the record.
	ErrLookAgain = errors.New("that save was made on a screen that has changed since: open the record and do it again, then withdraw this one")
)

// RefusedValue is one value of a save that was not accepted: what stands beside the
// field.
type RefusedValue struct {
	// Record, and the path and name of the field.
	Record syncengine.ID
	Path   syncengine.Path
	Field  string
	// Raw is the raw field, nil where it was to be cleared; Message is a message of the
	// kind that holds that field alone.
	Raw     []byte
	Message proto.Message
	// Op is the save, Words why it was not accepted.
	Op    uint64
	Words string
}

// values lists what a refused save would have written.
func (c *Client) values(n *NotAccepted) (out []RefusedValue) {
	for _, w := range n.Decoded.GetRecords() {
		kind := c.domain.Kind(w.GetKind())
		id, ok := syncengine.IDFromBytes(w.GetRecord())
		if kind == nil || !ok {
			continue
		}
		add := func(path syncengine.Path, raw []byte) {
			v := RefusedValue{Record: id, Path: path, Field: c.cols.fieldName(kind, path.Field), Raw: raw, Op: n.Op, Words: n.Words}
			if msg := c.domain.NewMessage(kind.Number); len(raw) > 0 && proto.Unmarshal(raw, msg) == nil {
				v.Message = msg
			}
			out = append(out, v)
		}
		// What cannot be taken apart is in the decoded change still.
		fields, _ := syncengine.ParseBody(w.GetBody())
		for _, f := range fields {
			add(f.Path, f.Raw)
		}
		for _, pw := range w.GetWrites() {
			add(syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())}, pw.GetValue())
		}
	}
	return out
}

// Closed returns the own saves that were not accepted and about which somebody has
// decided since, without applying them, oldest first. They are kept.
func (c *Client) Closed(ctx context.Context) (out []NotAccepted, err error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	err = c.store.read(ctx, "reading what was closed", func(rtx *sql.Tx) error {
		out, err = c.notAccepted(ctx, rtx, `o.state IN (5, 6)`)
		return err
	})
	return out, err
}

// Fix is a save that was not accepted, to be corrected.
type Fix struct {
	// Was is what was not accepted.
	Was NotAccepted
	// Records are its writes, in order.
	Records []FixRecord
}

// FixRecord is one record of a save to be corrected.
type FixRecord struct {
	// ID and Kind of the record, and what was done to it.
	ID   syncengine.ID
	Kind *syncengine.Kind
	Act  tandemv1.Act
	// Message holds the values it would have written: the whole record where it was to
	// be made, the written fields else. It is the caller's to change.
	Message proto.Message
}

// Fix writes a save again that was not accepted: fn corrects its values, and the new
// save takes the place of the old one, which is closed once the server has applied the
// new. ErrAccepted where the save does not wait for a decision.
func (c *Client) Fix(ctx context.Context, op uint64, fn func(*Fix) error) (*Saved, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	fix, err := c.refused(ctx, op)
	if err != nil {
		return nil, err
	}
	if fix.Was.Decoded == nil {
		return nil, ErrLookAgain
	}
	e := c.newEdit()
	e.change = syncengine.Supersede(fix.Was.Decoded)
	for _, w := range e.change.GetRecords() {
		r := FixRecord{Kind: c.domain.Kind(w.GetKind()), Act: w.GetAct()}
		r.ID, _ = syncengine.IDFromBytes(w.GetRecord())
		if r.Message, err = c.domain.Values(w); err != nil {
			return nil, err
		}
		fix.Records = append(fix.Records, r)
	}
	if err := fn(fix); err != nil {
		return nil, err
	}
	for i, w := range e.change.GetRecords() {
		msg := fix.Records[i].Message
		if w.GetAct() == tandemv1.Act_ACT_CREATE {
			if err := c.judge(fix.Records[i].Kind, msg, record.Entry{Imported: w.GetImportedFrom() != nil}, nil); err != nil {
				return nil, err
			}
		}
		if err := c.domain.SetValues(w, msg); err != nil {
			return nil, err
		}
	}
	return c.instead(ctx, op, e)
}

// Withdraw takes back a save that was not accepted: nobody need decide on it. Its words
// are kept, here and at the server.
func (c *Client) Withdraw(ctx context.Context, op uint64) (*Saved, error) {
	fix, err := c.refused(ctx, op)
	if err != nil {
		return nil, err
	}
	e := c.newEdit()
	e.change = syncengine.Withdrawal(fix.Was.Change)
	return c.instead(ctx, op, e)
}

// refused returns a save that waits for a decision.
func (c *Client) refused(ctx context.Context, op uint64) (*Fix, error) {
	var found []NotAccepted
	err := c.store.read(ctx, "reading what was not accepted", func(rtx *sql.Tx) (err error) {
		found, err = c.notAccepted(ctx, rtx, `o.op = $1 AND +o.state = 4`, int64(op))
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrAccepted
	}
	return &Fix{Was: found[0]}, nil
}

// instead captures a save that takes the place of a refused one.
func (c *Client) instead(ctx context.Context, op uint64, e *Edit) (*Saved, error) {
	if _, err := c.identity(); err != nil {
		return nil, err
	}
	var saved *Saved
	err := c.store.write(ctx, "saving", func(t *tx) error {
		old, err := t.Op(op)
		if err != nil {
			return err
		}
		if old == nil || old.State != syncengine.OpQuarantined {
			// It was decided on while it was being corrected.
			return ErrAccepted
		}
		rights, err := c.rights(t)
		if err != nil {
			return err
		}
		saved, err = c.capture(t, e, rights)
		return err
	})
	switch {
	case errors.Is(err, syncengine.ErrWaiting), errors.Is(err, syncengine.ErrExists):
		return nil, ErrLookAgain
	case err != nil:
		return nil, err
	}
	c.log.Debug().Uint64("op", saved.Op).Uint64("instead_of", op).Msg("saved")
	signal(c.work)
	return saved, nil
}

// DecisionWords says in plain words what became of a save that was not accepted.
func DecisionWords(n *NotAccepted) string {
	switch n.Verdict {
	case tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED:
		if n.Reason == "" {
			return "taken back, not applied; its words are kept"
		}
		return fmt.Sprintf("closed by a lead, not applied; its words are kept: %q", n.Reason)
	case tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED:
		return "another save stands in its place; its words are kept"
	case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
		return "not accepted: " + n.Words
	}
	return n.Words
}
