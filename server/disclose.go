package server

import (
	"context"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// ExportNote says of an export what the accounting of disclosures and the audit log keep.
type ExportNote struct {
	// ID of the export; By is who makes it, zero for the operator of the server.
	ID, By syncengine.ID
	// Recipient and Purpose in words, Basis a code of disclosure_basis.
	Recipient, Purpose, Basis string
	// What is passed on, codes of disclosed_field.
	What []string
	// Teams whose records are in it: each has a disclosure of its own, which its people
	// see.
	Teams []syncengine.ID
	// Seq of the state that is exported; Form in which, for example csv.
	Seq  uint64
	Form string
}

// CheckExport refuses what cannot be noted, before anything is read.
func (n *ExportNote) CheckExport() error {
	if _, err := n.message(&tandemv1.Team{}, time.Now().UnixMilli()); err != nil {
		return err
	}
	return nil
}

// message is the disclosure to the people of a team.
func (n *ExportNote) message(team *tandemv1.Team, nowMS int64) (*tandemv1.Disclosure, error) {
	msg := &tandemv1.Disclosure{
		AgencyId: text(team.GetAgencyId()), ProgramId: text(team.GetProgramId()), TeamId: text(team.GetTeamId()), Lifecycle: new("recorded"), Schema: schema(),
		ExportId: new(n.ID.String()), At: &tandemv1.Instant{AtMs: new(nowMS), Origin: new("tap")},
		Recipient: text(n.Recipient), Basis: text(n.Basis), Note: text(n.Purpose), What: n.What,
	}
	if !n.By.IsZero() {
		msg.By = new(n.By.String())
	}
	var faults []record.Problem
	for _, p := range record.New().Validate(msg, record.Entry{NowMS: nowMS}) {
		if !p.Warn {
			faults = append(faults, p)
		}
	}
	if len(faults) > 0 {
		return nil, &InvalidError{Problems: faults}
	}
	return msg, nil
}

// BeginExport writes the disclosures of an export and its entry in the audit log, in one
// transaction. It is called before the first byte of the export is written.
func (a *Admin) BeginExport(ctx context.Context, n *ExportNote) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error { return a.beginExport(tx, n) })
}

func (a *Admin) beginExport(tx *store.Tx, n *ExportNote) error {
	now := a.now().UnixMilli()
	engine := &syncengine.Server{Rules: record.New(), Secrets: a.org.Secrets}
	for _, id := range n.Teams {
		rec, err := a.find(tx, "team", id)
		if err != nil {
			return err
		}
		msg, err := record.New().Message(&rec.Record)
		if err != nil {
			return err
		}
		team, _ := msg.(*tandemv1.Team)
		team.TeamId = new(id.String())
		if err := a.disclose(tx, engine, n, team, now); err != nil {
			return err
		}
	}
	return tx.Audit(n.entry())
}

// DiscloseExport writes what BeginExport and EndExport write, in a transaction of the
// caller's: of an export of which nobody can read anything before that transaction is done.
func (a *Admin) DiscloseExport(tx *store.Tx, n *ExportNote, records int64, manifest syncengine.Hash) error {
	if err := a.beginExport(tx, n); err != nil {
		return err
	}
	return tx.Audit(n.ended(records, manifest))
}

func (a *Admin) disclose(tx *store.Tx, engine *syncengine.Server, n *ExportNote, team *tandemv1.Team, now int64) error {
	msg, err := n.message(team, now)
	if err != nil {
		return err
	}
	id, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return err
	}
	made, err := newCreation(a.org.ID, id, proto.Message(msg), now, a.rand, func(id syncengine.ID) (*syncengine.Record, error) {
		rec, err := tx.Record(id)
		if err != nil || rec == nil {
			return nil, err
		}
		return &rec.Record, nil
	})
	if err != nil {
		return err
	}
	return made.apply(engine, tx, now)
}

func (n *ExportNote) entry() *tandemv1.AuditEntry {
	e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_EXPORTED, Code: "export " + n.Form, Subject: n.ID[:]}
	if !n.By.IsZero() {
		e.Person = n.By[:]
	}
	return e
}

// EndExport notes what an export came to: how many records of which sequence, and the
// SHA-256 of its manifest. It is called before the export can be mistaken for a whole one.
func (a *Admin) EndExport(ctx context.Context, n *ExportNote, records int64, manifest syncengine.Hash) error {
	return a.note(ctx, n.ended(records, manifest))
}

func (n *ExportNote) ended(records int64, manifest syncengine.Hash) *tandemv1.AuditEntry {
	e := n.entry()
	e.Code, e.Count, e.Number, e.Hash = "exported "+n.Form, uint64(max(records, 0)), n.Seq, manifest[:]
	return e
}
