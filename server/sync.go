package server

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/protobuf/proto"
)

const (
	// maxWait is the longest that a request waits for news.
	maxWait = 50 * time.Second
	// ownHeld is how long a waiting request is kept that has only its own device's changes
	// to tell of: those of a while cost one answer. A device asks after two seconds.
	ownHeld = time.Second
	// maxQueued is the longest that a push waits for its commit to begin.
	maxQueued = 20 * time.Second
	// maxAsk bounds the bytes by which a device knows the answer, as the contract says.
	maxAsk = 16
)

// syncing implements the SyncService.
type syncing struct{ *Server }

// admittedCaller is caller for what looks at no replica by itself: it refuses whose device
// is suspended.
func (s *Server) admittedCaller(ctx context.Context) (*auth.Identity, *store.Org, error) {
	id, org, err := s.caller(ctx)
	if err != nil {
		return nil, nil, err
	}
	return id, org, s.notSuspended(ctx, id)
}

// notSuspended refuses whose device is suspended.
func (s *Server) notSuspended(ctx context.Context, id *auth.Identity) error {
	return s.store.Read(ctx, id.Org, func(view syncengine.ServerView) error {
		r, err := view.Replica(id.Replica)
		if err == nil && r != nil && r.Shut() {
			err = syncengine.ErrSuspended
		}
		return err
	})
}

// caller returns who has been let in, and their org.
func (s *Server) caller(ctx context.Context) (*auth.Identity, *store.Org, error) {
	id := auth.FromContext(ctx)
	if id == nil {
		return nil, nil, errors.New("a request without identity has come as far as its handler")
	}
	org, err := s.store.Org(ctx, id.Org)
	return id, org, err
}

// Sync implements tandemv1connect.SyncServiceHandler.
func (s *syncing) Sync(ctx context.Context, req *tandemv1.SyncRequest) (*tandemv1.SyncResponse, error) {
	began := s.now().Add(-visitOf(ctx).waited())
	id, org, err := s.caller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := s.known(ctx, org, id, req.GetEpoch()); err != nil {
		return nil, s.refuse(err)
	}
	if err := visitOf(ctx).enlarge(ctx, pageWork(req)); err != nil {
		return nil, s.refuse(err)
	}
	pushed, err := syncengine.Prepare(s.rules, id.Replica, id.Key, req)
	if err != nil {
		return nil, s.refuse(err)
	}
	var outcomes []*tandemv1.Outcome
	if len(pushed) > 0 {
		committing, committed := s.span(ctx, "commit", attribute.Int("tandem.changes", len(pushed)))
		outcomes, err = s.push(committing, org, id, pushed, req)
		committed(err)
		s.metrics.pushed(outcomes, err)
		if err != nil {
			return nil, s.refuse(err)
		}
		if outcomes != nil && len(outcomes) == 0 {
			return nil, s.refuse(ErrQuarantineFull)
		}
	}
	reading, read := s.span(ctx, "answer", attribute.Int64("tandem.wait_ms", int64(req.GetWaitMs())))
	answer, quiet, err := s.answer(reading, org, id, req, outcomes)
	if errors.Is(err, syncengine.ErrReverted) {
		answer, quiet, err = s.reverted(reading, org, id, req, outcomes)
	}
	read(err)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := s.logAnswer(ctx, org, id, req, answer); err != nil {
		return nil, s.refuse(err)
	}
	if len(answer.Message.GetTrailer().GetOrders()) > 0 {
		stands, err := s.tellWipe(ctx, org, id.Replica)
		if err != nil {
			return nil, s.refuse(err)
		}
		if !stands {
			// It was taken back while this was answered.
			answer.Message.Trailer.Orders = nil
		}
	}
	if answer.Report {
		if err := s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
			return s.engine(org).Report(tx, id.Replica, req)
		}); err != nil {
			return nil, s.refuse(err)
		}
	}
	if err := s.checkpoint(ctx, org, req, answer.Message.GetTrailer()); err != nil {
		return nil, s.refuse(err)
	}
	if !quiet {
		if err := s.seenByLead(ctx, org, id, req, answer.Message.GetTrailer()); err != nil {
			return nil, s.refuse(err)
		}
	}
	s.noteOver(id, answer)
	if answer.Leads {
		if err := s.alert(ctx, org, id, answer.Message.GetTrailer()); err != nil {
			return nil, s.refuse(err)
		}
	}
	if err := s.renew(ctx, org, id, answer.Message.GetTrailer()); err != nil {
		return nil, s.refuse(err)
	}
	s.stamp(answer.Message.GetTrailer(), req, began)
	s.metrics.pulled(req, answer.PageRows())
	s.devices.note(org, id, req, answer.Message.GetTrailer(), s.now())
	s.readAhead(ctx, org, id, req, answer.Message)
	raw, err := proto.Marshal(answer.Message)
	if err != nil {
		return nil, s.refuse(err)
	}
	return syncengine.FramePacked(answer.Packed(), raw, answer.Count), nil
}

// noteOver says in the log, whenever a device is told which scopes it holds, which ones it
// does not get because its person is in more teams than it can hold.
func (s *Server) noteOver(id *auth.Identity, a *syncengine.Answer) {
	if len(a.Over) == 0 || a.Message.GetPage().GetScopeSet() == nil {
		return
	}
	over := make([]string, 0, len(a.Over))
	for _, k := range a.Over {
		tier := " rest"
		if k.Open {
			tier = " open"
		}
		over = append(over, k.OwnerID.String()+" "+strings.ToLower(strings.TrimPrefix(k.Compartment.String(), "COMPARTMENT_"))+tier)
	}
	s.log.Warn().Stringer("person", id.Person).Strs("scopes", over).
		Msgf("this person is in so many teams that their devices do not hold all of them: take them out of some, %d are held whole", record.MaxTeams)
}

// pageWork is the room that the page takes which a request asks for.
func pageWork(req *tandemv1.SyncRequest) int64 {
	return workFactor * min(int64(req.GetBudget()), maxPageBytes)
}

// stamp dates an answer as late as can be, and says which request it is to, so that
// the device can sample the offset of its clock with a bound.
func (s *Server) stamp(t *tandemv1.Trailer, req *tandemv1.SyncRequest, began time.Time) {
	now := s.now()
	t.ServerMs = now.UnixMilli()
	t.HeldMs = uint32(min(max(now.Sub(began).Milliseconds(), 0), math.MaxUint32))
	if ask := req.GetAsk(); len(ask) <= maxAsk {
		t.Ask = ask
	}
}

// push commits a device's changes. Where they fail together, each is tried by
// itself, and one that still fails is put into quarantine as it was sent.
func (s *Server) push(ctx context.Context, org *store.Org, id *auth.Identity, pushed []syncengine.Prepared, req *tandemv1.SyncRequest) ([]*tandemv1.Outcome, error) {
	outcomes, err := s.commit(ctx, org, id, pushed, req)
	if !errors.Is(err, store.ErrFailedTwice) {
		return outcomes, err
	}
	s.log.Error().Err(err).Stringer("replica", id.Replica).Int("changes", len(pushed)).Msg("push failed")
	for i := range pushed {
		one := pushed[i : i+1]
		verdict, err := s.commit(ctx, org, id, one, req)
		for _, keepDecoded := range []bool{true, false} {
			if !errors.Is(err, store.ErrFailedTwice) {
				break
			}
			s.log.Error().Err(err).Stringer("replica", id.Replica).Uint64("op", one[0].Op).Msg("change failed")
			one[0].Refusal = &syncengine.Refusal{Code: tandemv1.Refusal_REFUSAL_INTERNAL}
			if !keepDecoded {
				one[0].Change = nil
			}
			verdict, err = s.commit(ctx, org, id, one, req)
		}
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, verdict...)
	}
	return outcomes, nil
}

// commit applies changes in one transaction, which others may share.
func (s *Server) commit(ctx context.Context, org *store.Org, id *auth.Identity, pushed []syncengine.Prepared, req *tandemv1.SyncRequest) (outcomes []*tandemv1.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxQueued)
	defer cancel()
	now := s.now().UnixMilli()
	engine := s.engine(org)
	err = s.store.Write(ctx, org.ID, len(pushed), func(tx *store.Tx) error {
		before, err := tx.Replica(id.Replica)
		if err != nil {
			return err
		}
		if before != nil && !bytes.Equal(before.Key, id.Key) {
			return syncengine.ErrFormerKey
		}
		batch, err := engine.Begin(tx, now)
		if err != nil {
			return err
		}
		if outcomes, err = batch.Push(id.Replica, pushed, req); err != nil {
			return err
		}
		if _, err = batch.Commit(); err != nil {
			return err
		}
		return auditPush(tx, before, pushed, outcomes)
	})
	return outcomes, err
}

// answer reads the answer to a request; one that asks to wait gets it when there is
// news, or when the wait is over. quiet: when it was read, just now, no lead had opened
// anything of the person's that the device does not know.
func (s *Server) answer(ctx context.Context, org *store.Org, id *auth.Identity, req *tandemv1.SyncRequest, outcomes []*tandemv1.Outcome) (answer *syncengine.Answer, quiet bool, err error) {
	engine := s.engineFor(org, id)
	read := func() error {
		return s.store.Read(ctx, org.ID, func(view syncengine.ServerView) (err error) {
			// The outcomes are given anew each time, since the answer extends them.
			answer, err = engine.Answer(view, id.Replica, req, outcomes[:len(outcomes):len(outcomes)], s.now().UnixMilli())
			if after := req.GetSeenAfter(); err == nil && after > 0 && after <= math.MaxInt64 {
				var news bool
				news, err = store.AnySeen(view, id.Person, after-1)
				quiet = !news
			}
			return err
		})
	}
	wait := min(time.Duration(req.GetWaitMs())*time.Millisecond, maxWait)
	if wait <= 0 {
		if len(req.GetRuns()) == 0 {
			if answer, err = s.readBefore(ctx, org, id, req); err != nil || answer != nil {
				return answer, false, err
			}
		}
		err = read()
		return answer, quiet, err
	}
	news := s.store.Watch(org.ID)
	defer news.Close()
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	until := waiting
	for {
		if err := read(); err != nil || answer.News && !answer.Own {
			return answer, quiet, err
		}
		if answer.Own && until == waiting {
			var settle context.CancelFunc
			until, settle = context.WithTimeout(waiting, s.ownHeld) //nolint:fatcontext // Once a request.
			defer settle()
		}
		news.Only(answer.Scopes)
		visitOf(ctx).rest()
		if !news.Wait(until) {
			return answer, false, visitOf(ctx).over(ctx)
		}
		if err := visitOf(ctx).wake(ctx, baseWork+pageWork(req)); err != nil {
			return nil, false, err
		}
	}
}
