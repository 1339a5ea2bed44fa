package server

import (
	"container/list"
	"errors"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Bounds of what is remembered of devices' messages: of how many devices, the ones heard of
// last, and how long of one that is not heard of.
const (
	recalledReplicas = 256
	recallAge        = 15 * time.Minute
)

// errForgotten: a push leans on what is not remembered here.
var errForgotten = errors.New("the push leans on earlier ones that this server does not remember: send it in runs")

// recalls is what the server remembers of the small messages of each device, to pack what
// comes next. It is in memory alone and may be lost at any time: a device that names what
// is not here is answered in full, and sends in full. Safe for concurrent use.
type recalls struct {
	now     func() time.Time
	mu      sync.Mutex
	of      map[syncengine.ID]*list.Element
	recent  *list.List // of *recalledReplica, the one heard of last in front
	sweeper *time.Timer
}

type recalledReplica struct {
	id   syncengine.ID
	used time.Time
	// pushed are its pushes, sent the answers to it.
	pushed, sent syncengine.Recall
}

func newRecalls(now func() time.Time) *recalls {
	return &recalls{now: now, of: map[syncengine.ID]*list.Element{}, recent: list.New()}
}

// with runs f on what is remembered of a replica.
func (c *recalls) with(id syncengine.ID, f func(*recalledReplica)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.of[id]
	if at == nil {
		at = c.recent.PushFront(&recalledReplica{id: id})
		c.of[id] = at
		if c.recent.Len() > recalledReplicas {
			c.forget(c.recent.Back())
		}
		if c.sweeper == nil {
			c.sweeper = time.AfterFunc(recallAge, c.sweep)
		}
	}
	c.recent.MoveToFront(at)
	if r, ok := at.Value.(*recalledReplica); ok {
		r.used = c.now()
		f(r)
	}
}

// forget drops an element.
func (c *recalls) forget(at *list.Element) {
	if r, ok := c.recent.Remove(at).(*recalledReplica); ok {
		delete(c.of, r.id)
	}
}

// sweep drops what was not used for long.
func (c *recalls) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweeper = nil
	for at := c.recent.Back(); at != nil; at = c.recent.Back() {
		if r, ok := at.Value.(*recalledReplica); ok && c.now().Sub(r.used) < recallAge {
			c.sweeper = time.AfterFunc(recallAge, c.sweep)
			return
		}
		c.forget(at)
	}
}

// unpack puts the runs of a packed push in their place. It returns the message that the
// push was, and what it leaned on, for remember; nothing of a device that does not ask for it.
func (c *recalls) unpack(id syncengine.ID, req *tandemv1.SyncRequest) (message, before []byte, err error) {
	if len(req.GetPackedRuns()) == 0 {
		if req.GetRecalls() == 0 || len(req.GetRuns()) == 0 || proto.Size(req.GetRuns()[0]) > syncengine.MaxRecall {
			return nil, nil, nil
		}
		message, err = syncengine.PushMessage(req)
		return message, nil, err
	}
	if len(req.GetRuns()) > 0 {
		return nil, nil, syncengine.ErrPushForm
	}
	c.with(id, func(r *recalledReplica) { before = r.pushed.At(req.GetRecalled(), "") })
	if before == nil {
		return nil, nil, errForgotten
	}
	pushed := &tandemv1.SyncRequest{}
	if message, err = syncengine.UnpackRecalled(req.GetPackedRuns(), before); err != nil || proto.Unmarshal(message, pushed) != nil || len(pushed.GetRuns()) == 0 {
		return nil, nil, syncengine.ErrPushForm
	}
	req.Runs, req.PackedRuns = pushed.GetRuns(), nil
	return message, before, nil
}

// remember keeps a push that has been taken, and says so in the trailer of its answer.
func (c *recalls) remember(id syncengine.ID, req *tandemv1.SyncRequest, message, before []byte, t *tandemv1.Trailer) {
	if req.GetRecalls() == 0 || len(message) == 0 {
		return
	}
	c.with(id, func(r *recalledReplica) { t.Recalls = r.pushed.Keep(before, message, "") })
}

// frame wraps an answer, packed with what the device remembers of earlier ones where that
// is known here.
func (c *recalls) frame(id syncengine.ID, req *tandemv1.SyncRequest, a *syncengine.Answer) (*tandemv1.SyncResponse, error) {
	raw, err := proto.Marshal(a.Message)
	if err != nil {
		return nil, err
	}
	plain := syncengine.FramePacked(a.Packed(), raw, a.Count)
	if req.GetRecalls() == 0 {
		return plain, nil
	}
	if a.Message.GetPage().GetScopeSet() != nil {
		// What it may hold has changed: nothing of before is used any more.
		c.with(id, func(r *recalledReplica) { r.sent.Forget() })
	}
	within, ok := syncengine.Recallable(a.Message)
	if !ok || len(a.Chunks) > 0 || len(raw) > syncengine.MaxRecall {
		return plain, nil
	}
	var before []byte
	c.with(id, func(r *recalledReplica) { before = r.sent.At(req.GetRecalls(), within) })
	resp := plain
	if before != nil {
		packed, err := syncengine.PackRecalled(raw, before)
		if err != nil {
			return nil, err
		}
		resp = syncengine.FramePacked(packed, nil, a.Count)
		resp.Recalled = req.GetRecalls()
	}
	c.with(id, func(r *recalledReplica) { r.sent.Keep(before, raw, within) })
	return resp, nil
}
