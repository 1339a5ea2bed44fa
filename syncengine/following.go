package syncengine

import (
	"bytes"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Following is the request that follows req, where answer is a page in the middle of
// many; nil elsewhere. Both ends use it to work ahead of each other: it is a guess,
// and what it leads to is thrown away where the request turns out to be another.
func Following(req *tandemv1.SyncRequest, answer *tandemv1.SyncAnswer) *tandemv1.SyncRequest {
	page := answer.GetPage()
	if !answer.GetTrailer().GetMore() || page.GetScopeSet() != nil || len(page.GetTo()) == 0 || len(page.GetReady()) > 0 ||
		len(page.GetTo()) != len(page.GetFrom()) || len(req.GetWant()) > 0 {
		return nil
	}
	next := proto.CloneOf(req)
	next.Lookup, next.ToldAt = nil, nil
	if at := answer.GetTrailer().GetToldAt(); len(at) > 0 {
		next.ToldAt = [][]byte{at}
	}
	for _, to := range page.GetTo() {
		for _, at := range next.GetPositions() {
			if bytes.Equal(at.GetScope(), to.GetScope()) {
				at.Position = to.GetPosition()
			}
		}
	}
	return next
}

// SameRequest reports whether two requests ask the same; the clock, the size of
// the page and what tells the answer are of no matter.
func SameRequest(a, b *tandemv1.SyncRequest) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.WallMs, a.Budget, a.Ask, a.AuditSize = b.GetWallMs(), b.GetBudget(), b.GetAsk(), b.GetAuditSize()
	return proto.Equal(a, b)
}
