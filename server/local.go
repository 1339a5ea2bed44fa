package server

import (
	"errors"
	"fmt"
	"io"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// operator is who stands behind what is set up at the server itself.
var operator = &syncengine.Principal{Server: true}

// InvalidError says what is wrong with a record that was to be made: the fields and
// what to do, never a value.
type InvalidError struct{ Problems []record.Problem }

// Error implements error.
func (e *InvalidError) Error() string {
	words := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		words = append(words, strings.Join(p.Fields, ", ")+": "+p.EN)
	}
	return strings.Join(words, "; ")
}

// creation is a record that the server makes itself, as a change like any other.
type creation struct {
	id  syncengine.ID
	raw []byte
}

// newCreation validates a message and makes the change that creates a record of it.
// The org stands as its author; look finds what it hangs on.
func newCreation(org, id syncengine.ID, msg proto.Message, nowMS int64, rand io.Reader, look syncengine.Lookup) (*creation, error) {
	domain := record.New()
	var faults []record.Problem
	for _, p := range domain.Validate(msg, record.Entry{NowMS: nowMS}) {
		if !p.Warn {
			faults = append(faults, p)
		}
	}
	if len(faults) > 0 {
		return nil, &InvalidError{Problems: faults}
	}
	body, err := domain.Body(msg)
	if err != nil {
		return nil, err
	}
	change, err := syncengine.NewID(nowMS, rand)
	if err != nil {
		return nil, err
	}
	kind := domain.KindOf(msg)
	w := &tandemv1.RecordWrite{Record: id[:], Kind: kind.Number, Act: tandemv1.Act_ACT_CREATE, Body: body}
	// A protocol is reference data, though other attachments are not.
	if in, err := domain.Inherited(kind.Number, body, look, nil); err != nil {
		return nil, err
	} else if in != kind.Compartment {
		w.Compartment = in
	}
	raw, err := proto.Marshal(&tandemv1.Change{
		Id: change[:], Author: org[:], Class: tandemv1.Class_CLASS_NORMAL, Schema: syncengine.Schema,
		Time: &tandemv1.ChangeTime{WallMs: nowMS, OffsetKnown: true}, Records: []*tandemv1.RecordWrite{w},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a change: %w", err)
	}
	return &creation{id: id, raw: raw}, nil
}

// nobody is a look-up that finds nothing: what the operator makes hangs on nothing.
func nobody(syncengine.ID) (*syncengine.Record, error) { return nil, nil }

// apply makes the record inside a transaction.
func (c *creation) apply(engine *syncengine.Server, tx *store.Tx, nowMS int64) error {
	batch, err := engine.Begin(tx, nowMS)
	if err != nil {
		return err
	}
	out, err := batch.Local(operator, c.raw)
	if err != nil {
		return err
	}
	if out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		return fmt.Errorf("%w: %s %s", errNotApplied, out.GetRefusal(), strings.Join(out.GetFields(), " "))
	}
	_, err = batch.Commit()
	return err
}

var errNotApplied = errors.New("the server refused its own change")
