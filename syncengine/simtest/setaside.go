package simtest

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// applied reports whether a verdict says that a change is part of the state.
func applied(o *tandemv1.Outcome) bool {
	return o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED || o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT
}

// setAside reports whether an own change is kept and was not applied.
func setAside(op *syncengine.Op) bool {
	switch op.State {
	case syncengine.OpQuarantined, syncengine.OpDismissed, syncengine.OpReplaced:
		return true
	}
	return false
}

// wasSetAside reports whether a verdict says that a change is kept and not applied.
func wasSetAside(o *tandemv1.Outcome) bool {
	switch o.GetCode() {
	case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED, tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED, tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED:
		return true
	}
	return false
}

// moved reports whether a verdict may have become another: what was in quarantine is
// released, closed or replaced, and nothing else ever changes.
func moved(before, now *tandemv1.Outcome) bool {
	return before.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED && now.GetCode() != before.GetCode()
}

// ended reports whether an own change ended as the server says.
func ended(op *syncengine.Op, o *tandemv1.Outcome) bool {
	switch o.GetCode() {
	case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED, tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT:
		return op.State == syncengine.OpSettled
	case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
		return op.State == syncengine.OpQuarantined && op.Outcome.GetRefusal() == o.GetRefusal()
	case tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED:
		return op.State == syncengine.OpDismissed && op.Outcome.GetReason() == o.GetReason()
	case tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED:
		return op.State == syncengine.OpReplaced && proto.Equal(op.Outcome, &tandemv1.Outcome{Op: op.Number, Code: o.GetCode()})
	}
	return false
}

// letOut reports whether a change was in quarantine before it was applied: its sequence
// is that of the release.
func (w *World) letOut(id syncengine.ID) bool {
	for _, a := range w.server.acts {
		if a.Change == id && (a.Kind == syncengine.ActReleased || a.Kind == syncengine.ActRetried) {
			return true
		}
	}
	return false
}
