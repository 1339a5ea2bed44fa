package client

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Status is how a device stands.
type Status struct {
	// Vault: the store is in one. Locked: its screens are hidden.
	Vault, Locked bool
	// WipeOrdered: an admin has ordered the store to be wiped, and what is unsent goes
	// first. Nothing is shown any more.
	WipeOrdered bool
	// Enrolled; the rest but Drafts is empty before.
	Enrolled bool
	// Queued saves are not known to be at the server: how many, their bytes, and
	// when the oldest was made (0: none).
	Queued      int
	QueuedBytes int64
	OldestMS    int64
	// Applied saves are at the server and not yet in a cut that this device shows.
	Applied int
	// NotAccepted saves are kept and were not applied: see Client.Quarantined.
	NotAccepted int
	// Records is the number of records that are shown, Conflicts of those that a
	// human is to settle, Drafts that of drafts.
	Records, Conflicts, Drafts int
	// Scopes that the device holds.
	Scopes []ScopeStatus
	// LastContactMS is the wall clock at the last complete answer, 0 for never;
	// OffsetMS server time minus wall clock then, give or take UncertaintyMS.
	LastContactMS, OffsetMS, UncertaintyMS int64
	// Skewed says that the wall clock is more than two minutes off, as far as that can
	// be known now: a person should set it. Saves are dated by both clocks.
	Skewed bool
	// LeaseEndsMS is when charts close unless there is contact before, by the wall
	// clock as it stands; 0 before the first contact. Closed says that they are.
	LeaseEndsMS int64
	Closed      bool
	// Damaged counts the saves whose bytes the disk has damaged: see Client.Damaged.
	Damaged int
	// LastFault says, in words, why the newest contact came to nothing; empty where
	// it did not.
	LastFault string
	// Sealed is how the sealed outbox stands.
	Sealed SealedStatus
	// Note is the newest thing to be said of a contact, in words, and NotedMS when it
	// was; empty for none.
	Note    string
	NotedMS int64
	// Forked: this store is a copy of another, or was set back; it takes a new name at
	// the next contact. Unconfirmed: it has, and only sends until a code of its person
	// or an admin confirms it.
	Forked, Unconfirmed bool
	// Suspended: an administrator has suspended this device, by the newest word of the
	// server's.
	Suspended bool
	// Recovering: the server was restored and sends nothing until its administrator
	// has checked it. Repairing: what is held here is being compared with the server's.
	Recovering, Repairing bool
	// Again counts those of Queued that an earlier state of the server had received,
	// Lost the saves that it has lost and of which only the records are left here.
	Again int
	Lost  uint64
	// VerifiedMS is when everything held here was last proved identical to the
	// server's, 0 where it is not.
	VerifiedMS int64
	// Update says, in words, that the server asks for a newer version of the app and
	// what holds until then; empty where it does not.
	Update string
	// AuditRewritten says, in words, that the server's audit log does not hold what this
	// device keeps of it; empty where that is not so.
	AuditRewritten string
	// Emergencies of others wait for this person's review: see BreakGlass.
	Emergencies int
}

// ScopeStatus is one scope.
type ScopeStatus struct {
	// ID is its wire id in hex, Digest what the device holds of it in hex.
	ID, Digest string
	// Compartment; Open for work in hand, else the rest.
	Compartment tandemv1.Compartment
	Open        bool
	// Ready: its records are shown.
	Ready bool
	// VerifiedMS is when it was last proved identical to the server's, 0 for never.
	VerifiedMS int64
}

// Status returns how the device stands, from one snapshot.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := &Status{Vault: c.InVault(), Locked: c.Locked(), WipeOrdered: c.ordered.Load()}
	c.clockStatus(s)
	next, word := uint64(0), ""
	err := c.store.read(ctx, "reading the status", func(rtx *sql.Tx) error {
		if err := rtx.QueryRowContext(ctx, `SELECT count(*) FROM draft`).Scan(&s.Drafts); err != nil {
			return err
		}
		st, err := scanState(rtx.QueryRowContext(ctx, selectState))
		if errors.Is(err, ErrNotEnrolled) {
			return nil
		}
		if err != nil {
			return err
		}
		next = st.NextOp
		s.Enrolled, s.LastContactMS, s.Forked = true, st.LastContactMS, st.Forked
		s.Unconfirmed, s.Recovering, s.Repairing = st.Unconfirmed, st.Recovering, st.Repair.Stage != syncengine.RepairNone
		s.Lost, s.VerifiedMS = st.LostOps, st.VerifiedMS
		var asked, rewritten, emergencies []byte
		for key, into := range map[string]*[]byte{metaSchemas: &asked, metaRewritten: &rewritten, metaEmergencies: &emergencies} {
			if err := rtx.QueryRowContext(ctx, `SELECT coalesce((SELECT value FROM meta WHERE key = $1), x'')`, key).Scan(into); err != nil {
				return err
			}
		}
		s.Update, s.AuditRewritten = updateWords(asked), string(rewritten)
		if len(emergencies) == 4 {
			s.Emergencies = int(binary.BigEndian.Uint32(emergencies))
		}
		for query, into := range map[string][]any{
			`SELECT count(*) FROM outbox WHERE state = 7 AND state IN (1, 7)`: {&s.Again},
			`SELECT coalesce(max(n), 0), coalesce((SELECT note FROM sync_event WHERE note <> '' ORDER BY n DESC LIMIT 1), ''),
				coalesce((SELECT at FROM sync_event WHERE note <> '' ORDER BY n DESC LIMIT 1), 0) FROM sync_event`: {new(int64), &s.Note, &s.NotedMS},
			`SELECT count(*), coalesce(sum(bytes), 0), coalesce(min(at), 0) FROM outbox WHERE state IN (1, 7)`: {&s.Queued, &s.QueuedBytes, &s.OldestMS},
			`SELECT count(*) FROM outbox WHERE state = 2 AND state IN (2, 4)`:                                  {&s.Applied},
			`SELECT count(*) FROM outbox WHERE state = 4 AND state IN (2, 4)`:                                  {&s.NotAccepted},
			`SELECT count(*) FROM outbox WHERE state = 8`:                                                      {&s.Damaged},
			`SELECT count(*) FROM rec WHERE ` + visible:                                                        {&s.Records},
			`SELECT count(*) FROM rec WHERE conflicts > 0 AND ` + visible:                                      {&s.Conflicts},
			`SELECT coalesce((SELECT fault FROM sync_event ORDER BY n DESC LIMIT 1), '')`:                      {&s.LastFault},
		} {
			if err := rtx.QueryRowContext(ctx, query).Scan(into...); err != nil {
				return err
			}
		}
		// Without a signal it is suspended as it was.
		if err := rtx.QueryRowContext(ctx, `SELECT coalesce((SELECT fault FROM sync_event WHERE fault IN ('', $1) ORDER BY n DESC LIMIT 1), '')`, suspendedWords).Scan(&word); err != nil {
			return err
		}
		s.Suspended = word == suspendedWords
		s.Scopes, err = scopeStatus(ctx, rtx)
		return err
	})
	if err == nil && s.Enrolled {
		s.Sealed, err = c.sealedStatus(ctx, next)
	}
	return s, err
}

// clockStatus says how the clocks stand.
func (c *Client) clockStatus(s *Status) {
	at := c.clock.now()
	if at.ServerMS == 0 {
		return
	}
	r := c.read()
	s.OffsetMS, s.UncertaintyMS = at.offset(), at.UncertaintyMS
	server, bound := at.at(r)
	if bound >= 0 {
		// Where the wall clock has been set since, that shows.
		s.OffsetMS, s.UncertaintyMS = server-r.wallMS, bound
	}
	off := time.Duration(max(s.OffsetMS, -s.OffsetMS)-s.UncertaintyMS) * time.Millisecond
	s.Skewed = off > skewed
	left := lease - at.spent(r)
	s.Closed = left <= 0
	s.LeaseEndsMS = r.wallMS + left.Milliseconds()
}

func scopeStatus(ctx context.Context, rtx *sql.Tx) (scopes []ScopeStatus, err error) {
	held, err := readScopes(ctx, rtx)
	for i := range held {
		sc := &held[i]
		scopes = append(scopes, ScopeStatus{
			ID: hex.EncodeToString(sc.ID[:]), Digest: sc.Sum.String(), Compartment: sc.Compartment,
			Open: sc.Open, Ready: sc.Ready, VerifiedMS: sc.VerifiedMS,
		})
	}
	return scopes, err
}

func readScopes(ctx context.Context, rtx *sql.Tx) (held []syncengine.DeviceScope, err error) {
	rows, err := rtx.QueryContext(ctx, selectScopes)
	if err != nil {
		return nil, err
	}
	err = eachRow(rows, func(scan func(...any) error) error {
		sc, err := scanScope(scan)
		held = append(held, sc)
		return err
	})
	return held, err
}

// Event is one contact with the server that moved something, or came to nothing.
type Event struct {
	// AtMS is the wall clock, MS how long it took.
	AtMS, MS int64
	// Pushed changes and received rows; bytes of bodies as they went over the wire.
	Pushed, Received   int
	BytesUp, BytesDown int64
	// Fault, in words; empty for none. Note is what else is to be said of it.
	Fault, Note string
}

// Events returns the last contacts, the newest first.
func (c *Client) Events(ctx context.Context, limit int) (events []Event, err error) {
	err = c.store.read(ctx, "reading the contacts", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, `SELECT at, ms, pushed, received, bytes_up, bytes_down, fault, note FROM sync_event ORDER BY n DESC LIMIT +$1`, limit)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			var e Event
			err := scan(&e.AtMS, &e.MS, &e.Pushed, &e.Received, &e.BytesUp, &e.BytesDown, &e.Fault, &e.Note)
			events = append(events, e)
			return err
		})
	})
	return events, err
}

// keptEvents is the length of the ring of contacts.
const keptEvents = 500

func (t *tx) addEvent(e *Event) error {
	if err := t.exec(`INSERT INTO sync_event (at, ms, pushed, received, bytes_up, bytes_down, fault, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		e.AtMS, e.MS, e.Pushed, e.Received, e.BytesUp, e.BytesDown, e.Fault, e.Note); err != nil {
		return err
	}
	return t.exec(`DELETE FROM sync_event WHERE n <= (SELECT max(n) FROM sync_event) - $1`, keptEvents)
}
