package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Errors of an enrolment. Their texts tell only whoever holds the code.
var (
	// ErrCode: the code is none of this server's.
	ErrCode = errors.New("the code is not known here: check it, or ask for a new one")
	// ErrCodeExpired: the code is older than its life.
	ErrCodeExpired = errors.New("the code has expired: ask for a new one")
	// ErrCodeUsed: another device has enrolled with the code.
	ErrCodeUsed = errors.New("the code has been used by another device: ask for a new one")
	// ErrEnrolForm: the request is no well-formed enrolment.
	ErrEnrolForm = errors.New("the enrolment is malformed, or its signature does not fit key, code and replica")
	// ErrRekeyForm: the request is no rollover from one key to another.
	ErrRekeyForm = errors.New("the request for another key is malformed, or its signatures do not fit")
	// ErrReplicaTaken: the replica id is that of another enrolment.
	ErrReplicaTaken = errors.New("the replica id is in use: make a new one")
	// ErrTooManyReplicas: too many replicas of a device wait to be confirmed.
	ErrTooManyReplicas = errors.New("too many copies of this device wait to be confirmed: ask your administrator")
	// ErrUnconfirmable: the code is for another person than the replica is of.
	ErrUnconfirmable = errors.New("the code is for another person than this device: ask for one of your own")
	// ErrGuesses: too many wrong codes came in.
	ErrGuesses = errors.New("too many wrong codes: wait a minute and try again")
	// ErrStaffInactive: the person does not work here, or no longer.
	ErrStaffInactive = errors.New("the person has no active staff record with a role: ask your administrator")
)

// errBusy is what a device is told where the storage failed.
var errBusy = errors.New("the server cannot store anything at the moment: nothing was done, try again later")

// errGivenUp is what a request is told that nobody waits for any more.
var errGivenUp = errors.New("the request was given up")

// errInternal is what a device is told of a fault of the server.
var errInternal = errors.New("the server has failed; its operator finds the reason in its log")

// codes maps errors to what a device is told: the code, and the error's own text,
// which is fixed. What is not here is a fault of the server.
var codes = []struct {
	err  error
	code connect.Code
	// says takes the place of the error's own text.
	says error
}{
	{ErrCode, connect.CodePermissionDenied, nil},
	{ErrCodeExpired, connect.CodePermissionDenied, nil},
	{ErrCodeUsed, connect.CodePermissionDenied, nil},
	{ErrEnrolForm, connect.CodeInvalidArgument, nil},
	{ErrReplicaTaken, connect.CodeAlreadyExists, nil},
	{ErrGuesses, connect.CodeResourceExhausted, nil},
	{ErrStaffInactive, connect.CodePermissionDenied, nil},
	{ErrRekeyForm, connect.CodeInvalidArgument, nil},
	{syncengine.ErrFormerKey, connect.CodePermissionDenied, nil},
	{syncengine.ErrSuspended, connect.CodePermissionDenied, nil},
	{syncengine.ErrUnknownReplica, connect.CodePermissionDenied, nil},
	{store.ErrUnknownOrg, connect.CodePermissionDenied, syncengine.ErrUnknownReplica},
	{ErrReceiptForm, connect.CodeInvalidArgument, nil},
	{ErrReceipt, connect.CodePermissionDenied, nil},
	{ErrTooManyReplicas, connect.CodeResourceExhausted, nil},
	{ErrUnconfirmable, connect.CodePermissionDenied, nil},
	{syncengine.ErrReverted, connect.CodeUnavailable, errBusy},
	{syncengine.ErrPosition, connect.CodeInvalidArgument, nil},
	{syncengine.ErrPushForm, connect.CodeInvalidArgument, nil},
	{syncengine.ErrPushTooLarge, connect.CodeInvalidArgument, nil},
	{ErrDelivery, connect.CodeInvalidArgument, nil},
	{syncengine.ErrSignature, connect.CodeInvalidArgument, nil},
	{ErrAudit, connect.CodeInvalidArgument, nil},
	{errFormerOrgKey, connect.CodeUnauthenticated, auth.ErrCertificate},
	{errOtherReplica, connect.CodeUnauthenticated, auth.ErrCertificate},
	{store.ErrKeysBehind, connect.CodeUnavailable, errBusy},
	{errFollowsNot, connect.CodeUnavailable, errBusy},
	{ErrLookups, connect.CodeResourceExhausted, nil},
	{syncengine.ErrChunk, connect.CodeInvalidArgument, nil},
	{ErrAttached, connect.CodeResourceExhausted, nil},
	{ErrEmergency, connect.CodeInvalidArgument, nil},
	{ErrEmergencies, connect.CodeResourceExhausted, nil},
	{syncengine.ErrNoEmergency, connect.CodePermissionDenied, nil},
	{syncengine.ErrLookup, connect.CodeInvalidArgument, nil},
	{ErrQuarantineFull, connect.CodeResourceExhausted, nil},
	{store.ErrStorage, connect.CodeUnavailable, errBusy},
	{store.ErrClosed, connect.CodeUnavailable, errBusy},
	{store.ErrMoved, connect.CodeUnavailable, errBusy},
	{context.DeadlineExceeded, connect.CodeUnavailable, errBusy},
	{context.Canceled, connect.CodeCanceled, errGivenUp},
}

// refuse returns what a device is told of an error, and logs what it is not told.
func (s *Server) refuse(err error) error {
	if o, ok := errors.AsType[*overload](err); ok {
		s.metrics.refused.WithLabelValues(o.reason).Inc()
		refusal := connect.NewError(connect.CodeUnavailable, errOverloaded)
		if o.reason == refusedDevice {
			refusal = connect.NewError(connect.CodeResourceExhausted, errCrowded)
		}
		refusal.Meta().Set("Retry-After", retryIn(o.after))
		return refusal
	}
	for _, c := range codes {
		if !errors.Is(err, c.err) {
			continue
		}
		if c.says != nil {
			if c.code != connect.CodeCanceled {
				s.log.Error().Err(err).Msg("request failed")
			}
			return hinted(connect.NewError(c.code, c.says))
		}
		return hinted(connect.NewError(c.code, c.err))
	}
	s.log.Error().Err(err).Msg("request failed")
	return connect.NewError(connect.CodeInternal, errInternal)
}

// busyHint is what a device is told to wait where the server could not do its part.
const busyHint = 5 * time.Second

// SuspendedHeader tells a device, beside a refusal, that it is suspended: what is unsent it
// keeps, and a person has to ask an administrator.
const SuspendedHeader = "Tandem-Suspended"

// hinted adds to an error of overload when to come back: the device adds jitter of
// its own. To one of a suspension it adds that it is one.
func hinted(err *connect.Error) error {
	if errors.Is(err, syncengine.ErrSuspended) {
		err.Meta().Set(SuspendedHeader, "1")
	}
	if code := err.Code(); code == connect.CodeUnavailable || code == connect.CodeResourceExhausted {
		err.Meta().Set("Retry-After", retryIn(busyHint))
	}
	return err
}

// recovered turns a panic into an error of this one request. What panicked may
// hold anything, so only its type is logged.
func (s *Server) recovered(_ context.Context, p any) error {
	s.log.Error().Str("panic", fmt.Sprintf("%T", p)).Bytes("stack", debug.Stack()).Msg("request failed")
	return connect.NewError(connect.CodeInternal, errInternal)
}
