package syncengine

import (
	"bytes"
	"cmp"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Limits of a chunk.
const (
	// maxChunkRows is the largest number of rows in a chunk, maxChunkLeft of those beside
	// it that tell of records which have left the scope.
	maxChunkRows, maxChunkLeft = MaxRows / 4, 256
)

// Place is a place in the order of a scope's rows: by sequence, then record.
type Place struct {
	Seq    uint64
	Record ID
}

// Compare orders places.
func (p Place) Compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Seq, o.Seq), p.Record.Compare(o.Record))
}

// Chunk is a stretch of a scope's live rows as they are sent, made once for all devices
// that read the scope from its beginning. Together the chunks of a scope are a snapshot
// of it that is kept piece by piece. It is immutable once it is kept.
//
// A record stands in each of its scopes at the sequence of its state, and nothing ever
// enters a stretch of the past: so a chunk is true in every snapshot of the history that
// is not older than its end and has as many live rows in its stretch. That is looked at
// before each use; what has changed, moved or gone since is never sent from a chunk.
type Chunk struct {
	Epoch ID
	Scope ScopeKey
	// From and To are the stretch: beyond the one, not beyond the other.
	From, To Place
	// Commit is that of the commit which holds the end: another one that has its numbers, in
	// a history that lost some of its end, is not the one that was read.
	Commit Hash
	// Rows is how many rows it holds, Bytes about how large they are.
	Rows, Bytes int
	// Scopes are what the bits of the rows index. Others are scopes that a row is in and
	// that the device did not hold for which the chunk was made.
	Scopes, Others []ScopeKey
	// Data is what [Chunks.Keep] made of the rows.
	Data []byte
}

// Chunks keeps chunks, in memory and for as long as it likes. Safe for concurrent use.
type Chunks interface {
	// Least is about how many bytes of rows a chunk holds. It is the least page in which
	// one is sent.
	Least() int
	// At returns the chunks of a scope that begin at a place, and where the next one
	// begins that lies beyond it; zero for none.
	At(epoch ID, scope ScopeKey, from Place) (at []*Chunk, next Place)
	// Making waits while another makes a chunk at a place, though not for long: who waits
	// holds a snapshot. The caller does so now, until it calls done.
	Making(epoch ID, scope ScopeKey, from Place) (done func())
	// Keep sets the Data of a chunk, from rows that are encoded as a SyncAnswer, and
	// keeps it.
	Keep(c *Chunk, rows []byte)
	// Drop forgets a chunk that is no longer true.
	Drop(c *Chunk)
}

// chunked reports whether a scope in backfill is read by chunks, which are what a page
// begins with: the device takes them, wants a large page, and enough rows are left.
func (g *pager) chunked(k ScopeKey, at Position) (bool, error) {
	const large = 2 << 10
	if g.srv.Chunks == nil || !g.req.GetPacks() || g.budget < g.srv.Chunks.Least() || len(g.req.GetWant()) > 0 {
		return false, nil
	}
	few := max(2, g.srv.Chunks.Least()/large)
	members, err := g.view.Members(k, at.Seq, at.Record, few)
	return len(members) == few, err
}

// readChunks is read for one scope in backfill. Rows that make no whole chunk, as at the
// end of the scope, are in the page itself.
func (g *pager) readChunks(k ScopeKey, at Position) (Position, bool, error) {
	kept := g.srv.Chunks
	for len(g.answer.Chunks) == 0 || g.spent+kept.Least() <= g.budget && g.answer.PageRows()+len(g.out.GetRows())+maxChunkRows+maxChunkLeft <= MaxRows {
		from := Place{at.Seq, at.Record}
		c, left, _, err := g.chunkAt(k, from)
		if err != nil {
			return at, false, err
		}
		if c == nil {
			var end bool
			c, left, end, err = g.newChunk(k, &at)
			if err == nil && c == nil && !end && len(g.out.GetRows()) == 0 {
				// Nothing is left there: a page that says no more than that is not sent.
				continue
			}
			if err != nil || c == nil {
				return at, end, err
			}
		}
		g.answer.Chunks = append(g.answer.Chunks, c)
		for _, scope := range c.Scopes {
			g.scope(scope)
		}
		g.spent += c.Bytes
		if err := g.addAll(left); err != nil {
			return at, false, err
		}
		at.Seq, at.Record = c.To.Seq, c.To.Record
	}
	return at, false, nil
}

// chunkAt returns a chunk that begins at a place and is true here, nil where there is
// none, and the rows of its stretch that tell of what has left. until is where a new one
// is to end.
func (g *pager) chunkAt(k ScopeKey, from Place) (_ *Chunk, left []Member, until Place, err error) {
	at, next := g.srv.Chunks.At(g.head.Epoch, k, from)
	for _, c := range at {
		if c.To.Seq > g.head.Seq || !g.fits(c) {
			continue
		}
		if _, hash, ok, err := g.view.CommitAt(c.To.Seq); err != nil {
			return nil, nil, next, err
		} else if !ok || hash != c.Commit {
			g.srv.Chunks.Drop(c)
			continue
		}
		live, left, err := g.view.Stretch(k, c.From, c.To, maxChunkLeft+1)
		if err != nil {
			return nil, nil, next, err
		}
		if live == c.Rows && len(left) <= maxChunkLeft {
			return c, left, next, nil
		}
		g.srv.Chunks.Drop(c)
	}
	return nil, nil, next, nil
}

// fits reports whether the bits of a chunk's rows say which scopes of this device each
// record is in, beside those that the page names already.
func (g *pager) fits(c *Chunk) bool {
	for i, scope := range c.Scopes {
		if _, held := g.ids[scope]; !held {
			return false
		}
		at, named := g.index[scope]
		if named && at != i || !named && i < len(g.out.GetScopes()) {
			return false
		}
	}
	for _, scope := range c.Others {
		if _, held := g.ids[scope]; held {
			return false
		}
	}
	return true
}

// newChunk makes the chunk that begins at a place, unless another has done so meanwhile.
// Where there are not enough rows for one it puts them into the page, moves at, and says
// whether that is the end of the scope.
func (g *pager) newChunk(k ScopeKey, at *Position) (c *Chunk, left []Member, end bool, err error) {
	from := Place{at.Seq, at.Record}
	defer g.srv.Chunks.Making(g.head.Epoch, k, from)()
	c, left, until, err := g.chunkAt(k, from)
	if err != nil || c != nil {
		return c, left, false, err
	}
	first, before := len(g.out.GetRows()), g.spent
	c = &Chunk{Epoch: g.head.Epoch, Scope: k, From: from, To: from}
	whole := true
	for full := false; !full && !end; {
		const some = 256
		members, recs, err := g.stretch(k, c.To, some)
		if err != nil {
			return nil, nil, false, err
		}
		for i, m := range members {
			place := Place{m.Seq, m.Record}
			if until != (Place{}) && place.Compare(until) > 0 {
				c.To, full = until, true
				break
			}
			c.To = place
			if !m.Live {
				left = append(left, m)
			} else if err := g.join(c, m, recs[i], &whole); err != nil {
				return nil, nil, false, err
			}
			if c.Rows == maxChunkRows || len(left) == maxChunkLeft || g.spent-before >= g.srv.Chunks.Least() {
				full = true
				break
			}
		}
		end = !full && len(members) < some
	}
	c.Bytes = g.spent - before
	at.Seq, at.Record = c.To.Seq, c.To.Record
	if end || !whole || c.Bytes < g.srv.Chunks.Least()/2 {
		return nil, nil, end, g.addAll(left)
	}
	_, hash, ok, err := g.view.CommitAt(c.To.Seq)
	if err != nil || !ok {
		return nil, nil, false, cmp.Or(err, g.addAll(left))
	}
	c.Commit = hash
	rows := g.out.GetRows()[first:]
	raw, err := proto.Marshal(&tandemv1.SyncAnswer{Page: &tandemv1.Page{Rows: rows}})
	if err != nil {
		return nil, nil, false, err
	}
	c.Scopes = make([]ScopeKey, len(g.out.GetScopes()))
	for scope, i := range g.index {
		c.Scopes[i] = scope
	}
	g.out.Rows, g.spent = g.out.GetRows()[:first], before
	g.srv.Chunks.Keep(c, raw)
	return c, left, false, nil
}

// join adds a live row to what becomes a chunk. whole is no longer so where the row is
// not what its place says.
func (g *pager) join(c *Chunk, m Member, rec *StoredRecord, whole *bool) error {
	row, err := g.row(m.Record, rec, 0)
	if err != nil {
		return err
	}
	g.add(row)
	c.Rows++
	if rec == nil || rec.Seq != m.Seq {
		*whole = false
		return nil
	}
	for _, scope := range rec.Scopes {
		if _, held := g.ids[scope]; !held && !slices.Contains(c.Others, scope) {
			c.Others = append(c.Others, scope)
		}
	}
	return nil
}

// stretch returns rows of a scope beyond a place, each with its record beside it.
func (g *pager) stretch(k ScopeKey, from Place, limit int) ([]Member, []*StoredRecord, error) {
	if reader, ok := g.view.(PageReader); ok {
		return reader.Page(k, from.Seq, from.Record, limit)
	}
	members, err := g.view.Members(k, from.Seq, from.Record, limit)
	if err != nil {
		return nil, nil, err
	}
	recs := make([]*StoredRecord, len(members))
	for i, m := range members {
		if recs[i], err = g.view.Record(m.Record); err != nil {
			return nil, nil, err
		}
	}
	return members, recs, nil
}

// addAll adds the rows of members, however many: a stretch is read whole.
func (g *pager) addAll(members []Member) error {
	if len(members) == 0 {
		return nil
	}
	recs, err := g.recordsOf(members)
	if err != nil {
		return err
	}
	byID := make(map[ID]*StoredRecord, len(recs))
	for _, rec := range recs {
		byID[rec.ID] = rec
	}
	for _, m := range members {
		if g.sent[m.Record] {
			continue
		}
		row, err := g.row(m.Record, byID[m.Record], 0)
		if err != nil {
			return err
		}
		g.add(row)
	}
	return nil
}

// Packed returns what goes before the encoded message: see [FramePacked].
func (a *Answer) Packed() []byte {
	all := make([][]byte, len(a.Chunks))
	for i, c := range a.Chunks {
		all[i] = c.Data
	}
	return bytes.Join(all, nil)
}
