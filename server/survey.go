package server

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Errors of surveys.
var (
	// ErrSurveyOpen: a program has one link.
	ErrSurveyOpen = errors.New("the program has an open survey link: close it before another is opened")
	// ErrNoSurvey: the program has no open link.
	ErrNoSurvey = errors.New("the program has no open survey link")
	// ErrSurveyForm: a form cannot be answered by anybody without a name.
	ErrSurveyForm = errors.New("a survey link takes a published form about the community whose questions have choices, yes or no, or whole numbers: words and dates could name somebody")
)

// OpenSurvey makes the link under which anybody answers a form about a program without a
// name. A program has one open link.
func (a *Admin) OpenSurvey(ctx context.Context, program, formID syncengine.ID) (*store.SurveyLink, error) {
	var secret [15]byte
	if _, err := io.ReadFull(a.rand, secret[:]); err != nil {
		return nil, fmt.Errorf("making the link of a survey: %w", err)
	}
	l := &store.SurveyLink{
		Token: strings.ToLower(base32.StdEncoding.EncodeToString(secret[:])), Program: program, Form: formID, CreatedMS: a.now().UnixMilli(),
	}
	err := a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		if _, err := a.find(tx, "program", program); err != nil {
			return err
		}
		rec, err := a.find(tx, "form", formID)
		if err != nil {
			return err
		}
		f, err := formOf(rec)
		if err != nil {
			return err
		}
		if f.GetLifecycle() != record.Published || f.GetSubject() != "community" || !report.Anonymous(f) {
			return ErrSurveyForm
		}
		open, err := openSurvey(tx, program)
		if err != nil {
			return err
		}
		if open != nil {
			return ErrSurveyOpen
		}
		if err := tx.SaveSurveyLink(l); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SURVEY_LINK, Subject: program[:], Code: "opened"})
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// openSurvey returns the open link of a program; nil where it has none.
func openSurvey(tx *store.Tx, program syncengine.ID) (*store.SurveyLink, error) {
	all, err := tx.SurveyLinks()
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if l.Program == program && l.ClosedMS == 0 {
			return l, nil
		}
	}
	return nil, nil
}

// CloseSurvey closes the link of a program for good: what was answered stays.
func (a *Admin) CloseSurvey(ctx context.Context, program syncengine.ID) error {
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		l, err := openSurvey(tx, program)
		if err != nil {
			return err
		}
		if l == nil {
			return ErrNoSurvey
		}
		l.ClosedMS = a.now().UnixMilli()
		if err := tx.SaveSurveyLink(l); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SURVEY_LINK, Subject: program[:], Code: "closed"})
	})
}

// Surveys returns the survey links, the newest first.
func (a *Admin) Surveys(ctx context.Context) ([]*store.SurveyLink, error) {
	return a.store.SurveyLinks(ctx, a.org.ID)
}

// takeSurvey makes the record of an anonymous response. Of when it was given it holds the
// day, of whom nothing.
func (s *Server) takeSurvey(ctx context.Context, org *store.Org, token string, f *tandemv1.Form, lang string, answers form.Answers) error {
	now := s.now().UnixMilli()
	return s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		l, err := tx.SurveyLink(token)
		if err != nil {
			return err
		}
		if l == nil || l.ClosedMS != 0 {
			return report.ErrSurveyClosed
		}
		program, err := tx.Record(l.Program)
		if err != nil {
			return err
		}
		if program == nil {
			return report.ErrSurveyClosed
		}
		zone, err := surveyZone(tx, program)
		if err != nil {
			return err
		}
		y, m, d := time.UnixMilli(now).In(zone).Date()
		today := time.Date(y, m, d, 0, 0, 0, 0, zone).UnixMilli()
		id, err := syncengine.NewID(today, s.rand)
		if err != nil {
			return err
		}
		msg := &tandemv1.FormResponse{
			AgencyId: text(program.Text(syncengine.FieldAgency)), ProgramId: new(l.Program.String()), Lifecycle: new(record.Draft), Tz: new(zone.String()), Schema: schema(),
			FormId: new(l.Form.String()), FormCode: f.Code, FormVersion: f.Version, Subject: new("community"), Lang: &lang, Respondent: new("anonymous"),
			AnsweredAt: &tandemv1.Instant{AtMs: &today, Origin: new("manual"), Precision: new("day")},
		}
		for _, it := range f.GetDefinition().GetItems() {
			if given := answers[it.GetLinkId()]; len(given) > 0 {
				msg.Answers = append(msg.Answers, form.Answer(it.GetLinkId(), given...))
			}
		}
		form.Total(msg, form.Evaluate(f.GetDefinition(), form.Of(msg)))
		if err := s.keepSurvey(tx, org, id, msg, today, now); err != nil {
			return err
		}
		l.Answers++
		if err := tx.SaveSurveyLink(l); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_SURVEY_ANSWERED, Subject: l.Program[:]})
	})
}

// surveyZone is the time zone of a program's agency.
func surveyZone(tx *store.Tx, program *syncengine.StoredRecord) (*time.Location, error) {
	id, err := syncengine.ParseID(program.Text(syncengine.FieldAgency))
	if err != nil {
		return time.UTC, nil //nolint:nilerr // A program of no agency: days are those of UTC.
	}
	rec, err := tx.Record(id)
	if err != nil || rec == nil {
		return time.UTC, err
	}
	msg, err := record.New().Message(&rec.Record)
	if err != nil {
		return nil, err
	}
	agency, ok := msg.(*tandemv1.Agency)
	if !ok {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(agency.GetAgencyTz())
	if err != nil {
		return time.UTC, nil //nolint:nilerr // A zone that this machine does not know.
	}
	return zone, nil
}

// keepSurvey makes the record of a response and signs it, with the day for its time.
func (s *Server) keepSurvey(tx *store.Tx, org *store.Org, id syncengine.ID, msg *tandemv1.FormResponse, dayMS, nowMS int64) error {
	domain, engine := record.New(), s.engine(org)
	body, err := domain.Body(msg)
	if err != nil {
		return err
	}
	kind := domain.KindOf(msg).Number
	apply := func(w *tandemv1.RecordWrite) error {
		change, err := syncengine.NewID(dayMS, s.rand)
		if err != nil {
			return err
		}
		raw, err := proto.Marshal(&tandemv1.Change{
			Id: change[:], Author: org.ID[:], Class: tandemv1.Class_CLASS_NORMAL, Schema: syncengine.Schema,
			Time: &tandemv1.ChangeTime{WallMs: dayMS, OffsetKnown: true}, Records: []*tandemv1.RecordWrite{w},
		})
		if err != nil {
			return fmt.Errorf("encoding a response: %w", err)
		}
		return applyLocal(engine, tx, raw, nowMS)
	}
	if err := apply(&tandemv1.RecordWrite{
		Record: id[:], Kind: kind, Act: tandemv1.Act_ACT_CREATE, Body: body, Compartment: tandemv1.Compartment_COMPARTMENT_REF,
	}); err != nil {
		return err
	}
	rec, err := tx.Record(id)
	if err != nil || rec == nil {
		return errors.Join(err, errNotApplied)
	}
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return err
	}
	lifecycle := syncengine.Path{Field: syncengine.FieldLifecycle}
	return apply(&tandemv1.RecordWrite{
		Record: id[:], Kind: kind, Act: tandemv1.Act_ACT_SIGN, Seen: state.Seen(), Writes: []*tandemv1.PathWrite{{
			Field: lifecycle.Field, Value: syncengine.StringField(lifecycle.Field, record.Signed), Bases: syncengine.EncodeStamps(state.Bases(lifecycle, true)),
		}},
	})
}
