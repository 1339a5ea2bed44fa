package syncengine

import (
	"bytes"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// maxToldAt bounds the positions of verdicts that a device states. An answer to a
// request that stated some leaves at most one of them, so that there are hardly more
// than requests under way.
const maxToldAt = 8

// maxSealed bounds a sealed position, which is of some hundred bytes.
const maxSealed = 1 << 10

// toldAt gives the snapshot that the outcomes of this answer are true in, or that
// continues from those that the request stated; closing pages say it by their
// position.
func (g *pager) toldAt() {
	msg := g.answer.Message
	// While it recovers it has not looked at those that the request stated.
	if g.placed || len(msg.GetOutcomes()) == 0 && (len(g.req.GetToldAt()) == 0 || g.head.Recovering) {
		return
	}
	msg.Trailer.ToldAt = g.srv.Secrets.Seal(g.replica.ID, Position{
		Epoch: g.head.Epoch, Commit: g.head.Hash.Short(), Since: g.head.Seq, At: g.head.Seq,
	})
}

// ToldAt returns a snapshot's position, sealed for a replica that is told outcomes by
// another way than the answer to a Sync. They are true in view.
func (s *Server) ToldAt(view ServerView, replica ID) ([]byte, error) {
	head, err := view.Head()
	if err != nil {
		return nil, err
	}
	return s.Secrets.Seal(replica, Position{Epoch: head.Epoch, Commit: head.Hash.Short(), Since: head.Seq, At: head.Seq}), nil
}

// tellers returns the snapshots at which a device says that it was told verdicts.
// What does not open proves nothing.
func (s *Server) tellers(replica ID, req *tandemv1.SyncRequest) []Position {
	stated := req.GetToldAt()
	told := make([]Position, 0, min(len(stated), maxToldAt))
	for _, sealed := range stated[:min(len(stated), maxToldAt)] {
		if p, err := s.Secrets.Open(replica, sealed); err == nil {
			told = append(told, p)
		}
	}
	return told
}

// toldAt keeps the position that the answer's verdicts were told at until a cut covers
// it: verdicts of a history that the server loses would otherwise stand here for good,
// and nothing would show the server that it had told them. What the request stated is
// part of the answer's snapshot where that says so, and the server reads positions now.
func (in *intake) toldAt(req *tandemv1.SyncRequest, ans *tandemv1.SyncAnswer) {
	if planted.Is(planted.VerdictsUnwitnessed) {
		return
	}
	at, page := in.trailer.GetToldAt(), ans.GetPage()
	if !in.st.Recovering && (len(at) > 0 || page.GetClosing()) {
		in.st.ToldAt = slices.DeleteFunc(slices.Clone(in.st.ToldAt), func(at []byte) bool {
			return slices.ContainsFunc(req.GetToldAt(), func(b []byte) bool { return bytes.Equal(at, b) })
		})
	}
	if page.GetClosing() && !in.got.Flipped && len(page.GetTo()) > 0 && len(ans.GetOutcomes())+len(req.GetToldAt()) > 0 {
		at = page.GetTo()[0].GetPosition()
		if stands := req.GetPositions(); len(stands) > 0 && bytes.Equal(at, stands[0].GetPosition()) {
			// That is where the device stands, which it states anyway.
			at = nil
		}
	}
	in.attest(at)
}

// attest adds a position to those that are stated with every request. Where they are too
// many, the oldest and the newest stay.
func (in *intake) attest(at []byte) {
	if len(at) == 0 || len(at) > maxSealed || slices.ContainsFunc(in.st.ToldAt, func(b []byte) bool { return bytes.Equal(at, b) }) {
		return
	}
	told := slices.Clone(in.st.ToldAt)
	if len(told) >= maxToldAt {
		told = slices.Delete(told, 1, len(told)-maxToldAt+2)
	}
	in.st.ToldAt = append(told, bytes.Clone(at))
}
