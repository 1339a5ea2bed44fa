package record

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Values returns a message of the kind that holds what a write would write: the whole
// record for a create, the written fields else. What a write clears is absent.
func (d *Domain) Values(w *tandemv1.RecordWrite) (proto.Message, error) {
	body := slices.Clone(w.GetBody())
	for _, pw := range w.GetWrites() {
		body = append(body, pw.GetValue()...)
	}
	return d.Message(&syncengine.Record{Kind: w.GetKind(), Body: body})
}

// SetValues gives a write the values of msg, as Values has returned it and
// somebody has changed it. Bases stay; a path that was not written before is written
// as one that its author had not seen.
func (d *Domain) SetValues(w *tandemv1.RecordWrite, msg proto.Message) error {
	if k := d.kindOf(msg); k == nil || k.Number != w.GetKind() {
		return ErrUnknownKind
	}
	body, err := d.Body(msg)
	if err != nil {
		return err
	}
	if w.GetAct() == create {
		w.Body = body
		return nil
	}
	fields, err := syncengine.ParseBody(body)
	if err != nil {
		return err
	}
	values := map[syncengine.Path][]byte{}
	for _, f := range fields {
		values[f.Path] = f.Raw
	}
	for _, pw := range w.GetWrites() {
		path := syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())}
		pw.Value = values[path]
		delete(values, path)
	}
	for _, f := range fields {
		if _, more := values[f.Path]; !more {
			continue
		}
		pw := &tandemv1.PathWrite{Field: f.Path.Field, Value: f.Raw, Bases: syncengine.EncodeStamps([]syncengine.Stamp{0})}
		if f.Path.Key != "" {
			pw.Key = []byte(f.Path.Key)
		}
		w.Writes = append(w.Writes, pw)
	}
	slices.SortFunc(w.Writes, func(a, b *tandemv1.PathWrite) int {
		return syncengine.Path{Field: a.GetField(), Key: string(a.GetKey())}.Compare(syncengine.Path{Field: b.GetField(), Key: string(b.GetKey())})
	})
	return nil
}
