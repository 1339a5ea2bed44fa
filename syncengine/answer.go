package syncengine

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"google.golang.org/protobuf/proto"
)

// Limits of one answer.
const (
	// MaxPage is the largest page that is sent, whatever a device asks for, in
	// bytes; one row may exceed it.
	MaxPage = 1 << 20
	// MaxRows is the largest number of rows in a page. What two pushes of a device have
	// made, which are under way at once, comes back in one: a page that is not the last of
	// its cut is stored twice.
	MaxRows = 2 * MaxPushChanges
	// MaxWant is the largest number of whole rows that a request may ask for.
	MaxWant = 256
	// maxOutcomes bounds the outcomes that an answer repeats.
	maxOutcomes = 2 * MaxPushChanges
	// maxUnsettled is the largest number of op ranges whose verdicts a request may ask
	// for; each is a look-up.
	maxUnsettled = 1024
	// rowOverhead is what a row costs beside body and stamps, in bytes.
	rowOverhead = 48
)

// Answer is what one request gets.
type Answer struct {
	// Message is the answer, to be encoded and framed.
	Message *tandemv1.SyncAnswer
	// Count is what Frame needs: outcomes plus rows.
	Count int
	// Chunks hold more rows of the page, which come before the message: see [Chunks].
	Chunks []*Chunk
	// Scopes are what wakes a waiting request: those the replica may hold, and those
	// of its person's own record, which says what that is.
	Scopes []ScopeKey
	// Over are scopes that the person is granted and that are more than a device can hold:
	// it is sent nothing of them.
	Over []ScopeKey
	// News: the answer says something worth ending a wait for. Own: that is nothing but
	// that the replica's own changes stand in the records, which it has been told of.
	News, Own bool
	// Lookup is the lookup that the answer carries out, to be logged before it is sent;
	// nil for none.
	Lookup *LookedFor
	// First and Seq: the page reads on from sequence First, in a snapshot whose history
	// stood at Seq.
	First, Seq uint64
	// Leads: the person leads, and is told what waits for leads.
	Leads bool
	// Report: what the request says of the device is worth noting ([Server.Report]).
	Report bool
}

// Answer reads one page, after any push of the same request has been committed, in
// one snapshot. Record state leaves the server here, and in an emergency
// ([Server.Emergency]), and nowhere else.
func (s *Server) Answer(view ServerView, replica ID, req *tandemv1.SyncRequest, outcomes []*tandemv1.Outcome, nowMS int64) (*Answer, error) {
	r, err := view.Replica(replica)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrUnknownReplica
	}
	if r.Shut() {
		return nil, ErrSuspended
	}
	if s.Proved != nil && !bytes.Equal(s.Proved, r.Key) {
		return nil, ErrFormerKey
	}
	head, err := view.Head()
	if err != nil {
		return nil, err
	}
	short := r.HighestHash.Short()
	msg := &tandemv1.SyncAnswer{Outcomes: outcomes, Trailer: &tandemv1.Trailer{
		HighestOp: r.Highest, HighestHash: short[:], ServerMs: nowMS,
		MinWriteSchema: max(s.MinWriteSchema, 1), MinReadSchema: s.MinReadSchema,
		Epoch: bytes.Clone(head.Epoch[:]), Recovering: head.Recovering, Unconfirmed: r.Unconfirmed,
	}}
	if r.Highest == 0 {
		msg.Trailer.HighestHash = nil
	}
	if s.SealKey != nil && req.GetSealKey() != ShortKeyID(s.SealKey) {
		msg.Trailer.SealKey = s.SealKey
	}
	a := &Answer{Message: msg, News: len(outcomes) > 0, Seq: head.Seq}
	pg := &pager{srv: s, view: view, replica: r, req: req, head: head, answer: a}
	if !head.Recovering {
		if err := pg.positions(); err != nil {
			return nil, err
		}
	}
	if err := pg.outcomes(); err != nil {
		return nil, err
	}
	if r.Forked && !planted.Is(planted.ForkUntold) && !slices.ContainsFunc(msg.GetOutcomes(), isFork) {
		// A late request of the replica's other life may have shown the fork: this one
		// must learn of it too, or it would wait for pages for ever.
		msg.Outcomes = append(msg.Outcomes, &tandemv1.Outcome{Code: tandemv1.OutcomeCode_OUTCOME_CODE_FORK})
		a.News = true
	}
	a.Report = reports(head, r, req)
	a.News = a.News || (len(req.GetEpoch()) > 0 && !bytes.Equal(req.GetEpoch(), head.Epoch[:]))
	if !r.Forked && req.GetSchema() >= s.MinReadSchema && (len(req.GetEpoch()) > 0 || (!head.Recovering && !r.Unconfirmed)) {
		// Who knows of no epochs would take them for the ranges of a page, and so would who
		// is too old to be sent one.
		msg.Trailer.Processed, msg.Trailer.Apart = rangesToWire(r.Ranges), rangesToWire(r.Apart)
	}
	if r.WipeOrderedMS != 0 {
		msg.Trailer.Orders = append(msg.Trailer.Orders, &tandemv1.Order{Number: WipeOrder, Act: ActWipe})
	}
	if r.Revoked && !planted.Is(planted.RevokedServed) || r.Forked {
		pg.bare(len(outcomes) > 0)
		pg.toldAt()
		a.News = a.News || len(msg.GetTrailer().GetOrders()) > 0
		return a, nil
	}
	if req.GetSchema() < s.MinReadSchema || r.Unconfirmed || head.Recovering {
		// Who is too old to be sent records may still read why a change was not applied.
		pg.toldAt()
		a.Count = len(msg.GetOutcomes())
		return a, nil
	}
	p, staff, err := s.principal(view, r)
	if err != nil {
		return nil, err
	}
	pg.grants, a.Over = s.Holds(view.Org(), p)
	a.Leads = s.Rules.Supervises(p)
	a.Scopes = wakes(staff, r, pg.grants)
	msg.Trailer.BackedUp = rangesToWire(r.BackedUp)
	if err := pg.lookUp(p); err != nil {
		return nil, err
	}
	if req.GetBudget() > 0 {
		if err := pg.page(); err != nil {
			return nil, err
		}
	}
	pg.toldAt()
	a.Count = len(msg.GetOutcomes()) + a.PageRows() + len(msg.GetLookedUp())
	return a, nil
}

// PageRows returns how many rows the page holds, those in chunks among them.
func (a *Answer) PageRows() int {
	n := len(a.Message.GetPage().GetRows())
	for _, c := range a.Chunks {
		n += c.Rows
	}
	return n
}

// bare strips an answer to codes, for a replica that is sent nothing else; to a
// revoked one, also which of its own ops have come, that it holds no scope any more,
// and that it is to forget what it has looked up. Its position moves no further, so
// verdicts that have changed are told each time and are no news.
func (g *pager) bare(pushed bool) {
	msg := g.answer.Message
	if g.replica.Revoked && !g.replica.Forked {
		// There is nothing left to confirm: it lets go of all now.
		msg.Trailer.Unconfirmed, msg.Trailer.Recovering = false, false
		msg.Trailer.Processed, msg.Trailer.Apart = rangesToWire(g.replica.Ranges), rangesToWire(g.replica.Apart)
		g.answer.News = pushed
	}
	msg.Outcomes = slices.Clone(msg.GetOutcomes())
	for i, o := range msg.GetOutcomes() {
		msg.Outcomes[i] = &tandemv1.Outcome{Op: o.GetOp(), Code: o.GetCode(), Refusal: o.GetRefusal(), Envelope: o.GetEnvelope()}
	}
	if held := slices.Concat(g.req.GetLookedUp(), g.req.GetOpened()); g.replica.Revoked && len(held) > 0 {
		msg.Forget = held
		g.answer.News = true
	}
	// Also where no page was asked for, as by a device that compares what it holds.
	if g.replica.Revoked && !bytes.Equal(HashScopeSet(nil), g.req.GetScopeSet()) {
		msg.Page = &tandemv1.Page{ScopeSet: &tandemv1.ScopeSet{}}
		g.answer.News = true
	}
	g.answer.Count = len(msg.GetOutcomes())
}

// wakes returns the scopes whose commits may be news to a replica of a person.
func wakes(staff *StoredRecord, r *Replica, grants []ScopeKey) []ScopeKey {
	scopes := append(slices.Clone(grants), VerdictScope(r.Person))
	if staff != nil {
		scopes = append(scopes, staff.Scopes...)
	}
	slices.SortFunc(scopes, ScopeKey.Compare)
	return slices.Compact(scopes)
}

func isFork(o *tandemv1.Outcome) bool {
	return o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_FORK
}

// pager builds one page.
type pager struct {
	srv     *Server
	view    ServerView
	replica *Replica
	req     *tandemv1.SyncRequest
	head    HistoryHead
	answer  *Answer

	// grants are the scopes the device may hold.
	grants   []ScopeKey
	ready    Position
	readyRaw []byte
	// backfill are the scopes that the device reads from where it stands in each.
	backfill []backfill
	// stuck: there is a position from which the history does not go on.
	stuck bool

	// keys of the scopes the device may hold, by wire id; index of those that the
	// page names.
	keys  map[ScopeID]ScopeKey
	ids   map[ScopeKey]ScopeID
	index map[ScopeKey]int
	out   *tandemv1.Page
	sent  map[ID]bool
	// placed: the device's position says where this answer stands.
	placed bool
	// spent are the bytes of rows so far.
	spent, budget int
}

type backfill struct {
	id  ScopeID
	at  Position
	raw []byte
}

// positions opens and checks where the device stands.
func (g *pager) positions() error {
	if len(g.req.GetPositions()) > 1+maxScopes {
		return ErrPosition
	}
	if lost, err := g.srv.claims(g.view, g.head, g.req.GetEpoch()); err != nil || lost {
		return cmp.Or(err, ErrReverted)
	}
	for _, pos := range g.srv.tellers(g.replica.ID, g.req) {
		if _, err := g.srv.continues(g.view, g.head, pos); err != nil {
			return err
		}
	}
	seen := map[ScopeID]bool{}
	for i, sp := range g.req.GetPositions() {
		pos, err := g.srv.Secrets.Open(g.replica.ID, sp.GetPosition())
		if err != nil {
			return err
		}
		goes, err := g.srv.continues(g.view, g.head, pos)
		if err != nil {
			return err
		}
		g.stuck = g.stuck || !goes
		switch {
		case len(sp.GetScope()) == 0 && i == 0:
			g.ready, g.readyRaw = pos, sp.GetPosition()
		case len(sp.GetScope()) == len(ScopeID{}) && !seen[ScopeID(sp.GetScope())]:
			seen[ScopeID(sp.GetScope())] = true
			g.backfill = append(g.backfill, backfill{id: ScopeID(sp.GetScope()), at: pos, raw: sp.GetPosition()})
		default:
			return ErrPosition
		}
	}
	return nil
}

// outcomes adds the verdicts that the device asks for, and those that changed since
// it last read.
func (g *pager) outcomes() error {
	msg := g.answer.Message
	told := map[uint64]bool{}
	for _, o := range msg.GetOutcomes() {
		told[o.GetOp()] = true
	}
	add := func(more []*tandemv1.Outcome) {
		for _, o := range more {
			if !told[o.GetOp()] {
				told[o.GetOp()] = true
				msg.Outcomes = append(msg.Outcomes, o)
				g.answer.News = true
			}
		}
	}
	// What overlaps is looked up once, and what the server does not hold not at all.
	asked := g.req.GetUnsettled()
	asked = asked[:min(len(asked), 8*maxUnsettled)]
	for i, ops := range both(MergeRanges(rangesFromWire(asked)), g.replica.Ranges) {
		if i == maxUnsettled || len(msg.GetOutcomes()) >= maxOutcomes {
			// What is left is sent again, and judged to be known.
			break
		}
		more, err := g.view.OutcomesIn(g.replica.ID, ops, maxOutcomes)
		if err != nil {
			return err
		}
		add(more)
	}
	if g.replica.Revised > g.ready.Cut {
		// Level-triggered: told with every answer until the device stands at a cut that
		// came with them.
		more, err := g.view.Revised(g.replica.ID, g.ready.Cut)
		if err != nil {
			return err
		}
		// What this very request has pushed may have been let out of quarantine by
		// something else in it.
		msg.Outcomes = slices.DeleteFunc(slices.Clone(msg.GetOutcomes()), func(o *tandemv1.Outcome) bool {
			again := slices.ContainsFunc(more, func(m *tandemv1.Outcome) bool { return m.GetOp() == o.GetOp() })
			told[o.GetOp()] = told[o.GetOp()] && !again
			return again
		})
		add(more)
	}
	return nil
}

// page builds the page: the ready scopes first, then, where those are read to the
// end, the scopes in backfill.
func (g *pager) page() error {
	g.keys, g.ids, g.index = make(map[ScopeID]ScopeKey, len(g.grants)), make(map[ScopeKey]ScopeID, len(g.grants)), map[ScopeKey]int{}
	held := make([]ScopeID, 0, len(g.grants))
	for _, k := range g.grants {
		id := g.srv.Secrets.ScopeID(k)
		g.keys[id], g.ids[k] = k, id
		held = append(held, id)
	}
	if !bytes.Equal(HashScopeSet(held), g.req.GetScopeSet()) {
		g.answer.Message.Page = &tandemv1.Page{ScopeSet: scopeSetOf(held, g.keys)}
		g.answer.News = true
		return nil
	}
	if g.stuck {
		g.answer.Message.Page = &tandemv1.Page{Reconcile: true}
		g.answer.News = true
		return nil
	}
	g.out = &tandemv1.Page{}
	g.answer.First = g.ready.Seq
	for _, b := range g.backfill {
		g.answer.First = min(g.answer.First, b.at.Seq)
	}
	g.sent = map[ID]bool{}
	g.budget = int(min(g.req.GetBudget(), MaxPage))
	if err := g.wanted(); err != nil {
		return err
	}
	if len(g.req.GetWant()) > 0 && g.ready.reconciles() {
		return g.apart()
	}
	if err := g.readReady(); err != nil {
		return err
	}
	if g.out.GetClosing() {
		if err := g.readBackfill(); err != nil {
			return err
		}
		if err := g.digests(); err != nil {
			return err
		}
	}
	pg := g.out
	g.placed = pg.GetClosing()
	news := len(pg.GetRows()) > 0 || len(g.answer.Chunks) > 0 || len(pg.GetReady()) > 0 || !pg.GetClosing()
	moved := !bytes.Equal(pg.GetTo()[0].GetPosition(), g.readyRaw)
	if news || moved || len(g.req.GetToldAt()) > 0 {
		// Where verdicts were told is stated until a page says that its cut covers that.
		g.answer.Message.Page = pg
	}
	g.answer.Own = news && !g.answer.News && ownAlone(pg)
	g.answer.News = g.answer.News || news
	return nil
}

// ownAlone reports whether a page brings nothing but echoes of own changes.
func ownAlone(pg *tandemv1.Page) bool {
	return pg.GetClosing() && len(pg.GetReady()) == 0 &&
		!slices.ContainsFunc(pg.GetRows(), func(row *tandemv1.Row) bool { return !row.GetEcho() })
}

// wanted adds the whole rows that the device asks for, in its order, until the page
// is full. What is in none of its scopes is a drop, so that each is answered.
func (g *pager) wanted() error {
	var ids []ID
	for _, b := range g.req.GetWant() {
		if id, ok := IDFromBytes(b); ok && len(ids) < MaxWant && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	const chunk = 32
	for some := range slices.Chunk(ids, chunk) {
		recs, err := g.view.Records(some)
		if err != nil {
			return err
		}
		byID := make(map[ID]*StoredRecord, len(recs))
		for _, rec := range recs {
			byID[rec.ID] = rec
		}
		for _, id := range some {
			if g.full() {
				g.answer.Message.Trailer.More = true
				return nil
			}
			if g.sent[id] {
				continue
			}
			row, err := g.row(id, byID[id], 0)
			if err != nil {
				return err
			}
			if rec := byID[id]; rec != nil && planted.Is(planted.ScopeLeak) {
				row = wholeRow(rec, g.bits(rec))
			}
			g.add(row)
		}
	}
	return nil
}

// apart is a page of wanted rows alone: a device that reconciles takes nothing else
// before it has them all, and stays where it stands.
func (g *pager) apart() error {
	g.out.From = []*tandemv1.ScopePosition{{Position: g.readyRaw}}
	g.out.To = []*tandemv1.ScopePosition{{Position: g.readyRaw}}
	g.answer.Message.Page = g.out
	g.answer.Message.Trailer.More, g.answer.News = true, true
	return nil
}

// readReady reads the ready scopes: those held and not in backfill.
func (g *pager) readReady() error {
	inBackfill := map[ScopeID]bool{}
	for _, b := range g.backfill {
		inBackfill[b.id] = true
	}
	var scopes []ScopeKey
	for _, k := range g.grants {
		if !inBackfill[g.ids[k]] {
			scopes = append(scopes, k)
		}
	}
	known := g.ready.Cut
	if len(g.req.GetWant()) > 0 {
		// What the device splices differs from what was meant: whole rows, so that
		// the next page is one it can take.
		known = 0
	}
	at, done, err := g.read(scopes, g.ready, known)
	if err != nil {
		return err
	}
	g.out.Closing = done || planted.Is(planted.FixedCut)
	g.step(nil, g.readyRaw, at, done)
	return nil
}

// readBackfill reads the scopes in backfill, in the order the device named them.
func (g *pager) readBackfill() error {
	for _, b := range g.backfill {
		k, ok := g.keys[b.id]
		if !ok {
			continue
		}
		if g.full() || len(g.answer.Chunks) > 0 {
			g.answer.Message.Trailer.More = true
			return nil
		}
		read := func() (Position, bool, error) { return g.read([]ScopeKey{k}, b.at, 0) }
		if chunked, err := g.chunked(k, b.at); err != nil {
			return err
		} else if chunked && len(g.out.GetScopes()) > 0 {
			// The next page begins with them.
			g.answer.Message.Trailer.More = true
			return nil
		} else if chunked {
			read = func() (Position, bool, error) { return g.readChunks(k, b.at) }
		}
		at, done, err := read()
		if err != nil {
			return err
		}
		g.step(b.id[:], b.raw, at, done)
		if done {
			g.out.Ready = append(g.out.Ready, uint32(g.scope(k)))
		} else {
			g.answer.Message.Trailer.More = true
		}
	}
	return nil
}

// step states from where to where the page reads.
func (g *pager) step(scope, from []byte, to Position, done bool) {
	if done {
		to = Position{Seq: g.head.Seq, Record: lastID, Cut: g.head.Seq, Since: g.head.Seq}
	} else {
		g.answer.Message.Trailer.More = true
	}
	var sealed []byte
	if to.Seq > 0 || done {
		if to.Since == 0 {
			to.Since = g.head.Seq
		}
		to.Epoch, to.At, to.Commit = g.head.Epoch, g.head.Seq, g.head.Hash.Short()
		sealed = g.srv.Secrets.Seal(g.replica.ID, to)
	}
	g.out.From = append(g.out.From, &tandemv1.ScopePosition{Scope: bytes.Clone(scope), Position: from})
	g.out.To = append(g.out.To, &tandemv1.ScopePosition{Scope: bytes.Clone(scope), Position: sealed})
}

func (g *pager) full() bool { return g.spent >= g.budget || len(g.out.GetRows()) >= MaxRows }

// read adds the rows of scopes beyond a position, in order of sequence, then record,
// until the page is full. It returns how far it came and whether that is the end.
// known is the sequence at which, or after which, the device holds the state of all
// of them; 0 where it need not hold any.
func (g *pager) read(scopes []ScopeKey, at Position, known uint64) (Position, bool, error) {
	const chunk = 256
	if reader, ok := g.view.(PageReader); ok && len(scopes) == 1 {
		return g.readWhole(reader, scopes[0], at, known)
	}
	for {
		var members []Member
		short := true
		for _, k := range scopes {
			more, err := g.view.Members(k, at.Seq, at.Record, chunk)
			if err != nil {
				return at, false, err
			}
			short = short && len(more) < chunk
			members = append(members, more...)
		}
		slices.SortFunc(members, compareMembers)
		if !short && len(members) > chunk {
			members = members[:chunk]
		}
		var err error
		var full bool
		if at, full, err = g.rows(members, at, known); err != nil || full {
			return at, false, err
		}
		if short {
			return at, true, nil
		}
	}
}

// readWhole is read for one scope, with its records: no more at once than the page
// is likely to hold.
func (g *pager) readWhole(reader PageReader, scope ScopeKey, at Position, known uint64) (Position, bool, error) {
	const least, most, typical = 16, 256, 1 << 10
	for {
		size := typical
		if n := len(g.out.GetRows()); n >= least {
			size = max(g.spent/n, 1)
		}
		limit := min(max((g.budget-g.spent)/size+1, least), most)
		members, recs, err := reader.Page(scope, at.Seq, at.Record, limit)
		if err != nil {
			return at, false, err
		}
		for i, m := range members {
			var full bool
			if at, full, err = g.member(m, recs[i], at, known); err != nil || full {
				return at, false, err
			}
		}
		if len(members) < limit {
			return at, true, nil
		}
	}
}

func compareMembers(a, b Member) int {
	return Position{Seq: a.Seq, Record: a.Record}.Compare(Position{Seq: b.Seq, Record: b.Record})
}

// rows adds the rows of members; full says that it stopped before the last.
func (g *pager) rows(members []Member, at Position, known uint64) (Position, bool, error) {
	const chunk = 128
	for part := range slices.Chunk(members, chunk) {
		recs, err := g.recordsOf(part)
		if err != nil {
			return at, false, err
		}
		byID := make(map[ID]*StoredRecord, len(recs))
		for _, rec := range recs {
			byID[rec.ID] = rec
		}
		for _, m := range part {
			var full bool
			if at, full, err = g.member(m, byID[m.Record], at, known); err != nil || full {
				return at, full, err
			}
		}
	}
	return at, false, nil
}

// recordsOf returns the records of members that the page does not hold yet.
func (g *pager) recordsOf(members []Member) ([]*StoredRecord, error) {
	seen := make(map[ID]bool, len(members))
	wanted := make([]Member, 0, len(members))
	for _, m := range members {
		if !g.sent[m.Record] && !seen[m.Record] {
			seen[m.Record] = true
			wanted = append(wanted, m)
		}
	}
	if reader, ok := g.view.(PageReader); ok {
		return reader.RecordsOf(wanted)
	}
	ids := make([]ID, 0, len(wanted))
	for _, m := range wanted {
		ids = append(ids, m.Record)
	}
	return g.view.Records(ids)
}

// member adds the row of a member, unless the page holds one of its record; full
// says that it holds no more and that the position stays before the member.
func (g *pager) member(m Member, rec *StoredRecord, at Position, known uint64) (_ Position, full bool, err error) {
	if g.full() {
		return at, true, nil
	}
	at.Seq, at.Record = m.Seq, m.Record
	if g.sent[m.Record] {
		return at, false, nil
	}
	row, err := g.row(m.Record, rec, known)
	if err != nil {
		return at, false, err
	}
	g.add(row)
	return at, false, nil
}

func (g *pager) add(row *tandemv1.Row) {
	id := ID(row.GetRecord())
	g.sent[id] = true
	g.out.Rows = append(g.out.Rows, row)
	g.spent += rowOverhead + len(row.GetBody()) + len(row.GetStamps())
	for _, d := range row.GetDeltas() {
		g.spent += rowOverhead + len(d.GetValue())
	}
}

// row builds one row: a drop, an own echo, the touched paths, or the whole.
func (g *pager) row(id ID, rec *StoredRecord, known uint64) (*tandemv1.Row, error) {
	if rec == nil {
		return &tandemv1.Row{Record: bytes.Clone(id[:])}, nil
	}
	bits := g.bits(rec)
	switch {
	case bits == 0:
		return &tandemv1.Row{Record: bytes.Clone(id[:])}, nil
	case known > 0 && rec.RunReplica == g.replica.ID && rec.Plain && rec.RunBase <= known:
		return &tandemv1.Row{Record: rec.ID[:], Kind: rec.Kind, Scopes: bits, Hash: uint64(rec.Hash), Echo: true}, nil
	case known > 0 && (rec.TouchBase <= known || planted.Is(planted.DeltaUnchecked)) && len(rec.Touches) > 0:
		return deltaRow(rec, bits, known)
	}
	return wholeRow(rec, bits), nil
}

func wholeRow(rec *StoredRecord, bits uint64) *tandemv1.Row {
	return &tandemv1.Row{Record: rec.ID[:], Kind: rec.Kind, Scopes: bits, Body: rec.Body, Stamps: rec.Stamps}
}

// deltaRow sends the paths touched since the sequence whose state the device holds.
func deltaRow(rec *StoredRecord, bits, known uint64) (*tandemv1.Row, error) {
	s, err := Decode(&rec.Record)
	if err != nil {
		return nil, err
	}
	row := &tandemv1.Row{Record: rec.ID[:], Kind: rec.Kind, Scopes: bits, Hash: uint64(rec.Hash)}
	size := 0
	var paths []Path
	for _, t := range rec.Touches {
		if t.Seq > known {
			paths = append(paths, t.Paths...)
		}
	}
	slices.SortFunc(paths, Path.Compare)
	for _, path := range slices.Compact(paths) {
		d := &tandemv1.PathDelta{Field: path.Field, Key: []byte(path.Key)}
		if p := s.at(path); p != nil {
			d.Value = p.Shown()
			if !s.plainCreated(p) {
				d.Stamps = &tandemv1.PathStamps{}
				if err := proto.Unmarshal(p.encode(nil, false), d.Stamps); err != nil {
					return nil, err
				}
				d.Stamps.Field, d.Stamps.Key = 0, nil
			}
		}
		size += len(d.GetValue())
		row.Deltas = append(row.Deltas, d)
	}
	if len(row.GetDeltas()) == 0 || (size > len(rec.Body)/2 && len(row.GetDeltas()) > 4) {
		return wholeRow(rec, bits), nil
	}
	return row, nil
}

// bits returns which of the device's scopes a record is in.
func (g *pager) bits(rec *StoredRecord) uint64 {
	var bits uint64
	for _, k := range rec.Scopes {
		if _, ok := g.ids[k]; ok {
			bits |= 1 << g.scope(k)
		}
	}
	return bits
}

// scope returns the index of a scope in the page, naming it where it is new.
func (g *pager) scope(k ScopeKey) int {
	i, ok := g.index[k]
	if !ok {
		i = len(g.out.GetScopes())
		g.index[k] = i
		id := g.ids[k]
		g.out.Scopes = append(g.out.Scopes, bytes.Clone(id[:]))
	}
	return i
}

// digests states the digests of the scopes that the page names, as they stand at
// its cut. The others have not changed since the device last compared.
func (g *pager) digests() error {
	if g.ready.reconciles() {
		// The end of a reconciliation proves every scope.
		for _, k := range g.grants {
			g.scope(k)
		}
	}
	for k, i := range g.index {
		d, err := g.view.Digest(k)
		if err != nil {
			return err
		}
		g.answer.Message.Trailer.Digests = append(g.answer.Message.Trailer.Digests,
			&tandemv1.ScopeDigest{Scope: g.out.GetScopes()[i], Sum: d.Total().Bytes()})
	}
	slices.SortFunc(g.answer.Message.GetTrailer().GetDigests(), func(a, b *tandemv1.ScopeDigest) int {
		return bytes.Compare(a.GetScope(), b.GetScope())
	})
	return nil
}

// Unframe returns the answer of a complete response; the error is ErrIncomplete. unpack
// unpacks what is packed of it; where it is nil, nothing may be.
func Unframe(resp *tandemv1.SyncResponse, unpack func(packed []byte) ([]byte, error)) (*tandemv1.SyncAnswer, error) {
	if resp.GetEnd() != EndMark || resp.GetSchema() == 0 ||
		!bytes.Equal(digestOf(resp.GetPacked(), resp.GetAnswer()), resp.GetDigest()) && !planted.Is(planted.TruncatedTaken) {
		return nil, ErrIncomplete
	}
	answer := &tandemv1.SyncAnswer{}
	if len(resp.GetPacked()) > 0 {
		if unpack == nil {
			return nil, ErrIncomplete
		}
		first, err := unpack(resp.GetPacked())
		if err != nil || proto.Unmarshal(first, answer) != nil {
			return nil, ErrIncomplete
		}
	}
	if (proto.UnmarshalOptions{Merge: true}).Unmarshal(resp.GetAnswer(), answer) != nil {
		return nil, ErrIncomplete
	}
	if answer.GetTrailer() == nil || len(answer.GetOutcomes())+len(answer.GetPage().GetRows())+len(answer.GetLookedUp()) != int(resp.GetCount()) {
		return nil, ErrIncomplete
	}
	return answer, nil
}

// FrameDelivery wraps an answer to a delivery, as Frame does that to a sync.
func FrameDelivery(answer *tandemv1.DeliverAnswer) (*tandemv1.DeliverResponse, error) {
	raw, err := proto.Marshal(answer)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &tandemv1.DeliverResponse{
		Schema: Schema, Answer: raw, Count: uint32(len(answer.GetDelivered())), Digest: sum[:16], End: EndMark,
	}, nil
}

// UnframeDelivery is the inverse of FrameDelivery. The error is ErrIncomplete.
func UnframeDelivery(resp *tandemv1.DeliverResponse) (*tandemv1.DeliverAnswer, error) {
	sum := sha256.Sum256(resp.GetAnswer())
	if resp.GetEnd() != EndMark || resp.GetSchema() == 0 || !bytes.Equal(sum[:16], resp.GetDigest()) {
		return nil, ErrIncomplete
	}
	answer := &tandemv1.DeliverAnswer{}
	if proto.Unmarshal(resp.GetAnswer(), answer) != nil || len(answer.GetDelivered()) != int(resp.GetCount()) {
		return nil, ErrIncomplete
	}
	return answer, nil
}

// ShortKeyID is what a request carries of the id of a public key: the first 4 bytes
// of its SHA-256; 0 for no key.
func ShortKeyID(public []byte) uint32 {
	if len(public) == 0 {
		return 0
	}
	sum := sha256.Sum256(public)
	return binary.BigEndian.Uint32(sum[:])
}
