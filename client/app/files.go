package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/media"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

const (
	// maxUpload is the largest form with a file.
	maxUpload = media.MaxBytes + 64<<10
	// fetchTime is how long somebody waits for a file to be fetched; what has come by then
	// stays, and the next try goes on from there.
	fetchTime = 40 * time.Second
	// uploads is how many files are taken in at once.
	uploads = 2
)

// taking is held over taking in a file.
var taking = make(chan struct{}, uploads)

// fileOwners are the kinds that files are attached to.
var fileOwners = map[string]bool{"person": true, "encounter": true, "referral": true}

type filesData struct {
	Page                  *web.Page
	Kind, ID, Name        string
	Files                 []fileLine
	Waiting               string
	Attaches, SendsAnyway bool
	Problem               string
}

type fileLine struct {
	ID, Title, About string
	At               time.Time
	Thumb            bool
	// Picture, Sound and Save: it is shown, played, or handed on to be saved.
	Picture, Sound, Save bool
	Where                web.Status
	// Removable: it can be taken back still.
	Removable bool
}

// owner returns the record of the path that files are attached to.
func (v *visit) owner() (*client.View, error) {
	kind := v.r.PathValue("kind")
	if !fileOwners[kind] {
		return nil, client.ErrNotFound
	}
	return v.get(kind)
}

// ownerName says whose or what the files are.
func (v *visit) ownerName(view *client.View) string {
	person := ""
	switch m := view.Message.(type) {
	case *tandemv1.Person:
		return nameOf(m)
	case *tandemv1.Encounter:
		person = m.GetPersonId()
	case *tandemv1.Referral:
		person = m.GetPersonId()
	}
	return join(v.domain().KindLabel(view.Kind.Name, v.lang), v.personName(person))
}

// filesPage lists the files of a record.
func (v *visit) filesPage() error { return v.showFiles(http.StatusOK, "") }

func (v *visit) showFiles(status int, problem string) error {
	owner, err := v.owner()
	if err != nil {
		return err
	}
	d := &filesData{Page: v.page(v.t("filesTitle")), Kind: owner.Kind.Name, ID: owner.ID.String(), Name: v.ownerName(owner), Problem: problem, Attaches: v.mayDisclose()}
	views, err := v.dev.List(v.ctx(), "attachment", client.Filter{Parent: owner.ID}, client.Newest, 100)
	if err != nil {
		return err
	}
	for _, view := range views {
		if view.Lifecycle == record.Void {
			continue
		}
		line, err := v.fileLine(view)
		if err != nil {
			return err
		}
		d.Files = append(d.Files, line)
	}
	waiting, err := v.dev.WaitingFiles(v.ctx())
	if err != nil {
		return err
	}
	if waiting.Files > 0 {
		d.Waiting, d.SendsAnyway = v.waitingFiles(waiting), waiting.ForLink
	}
	return v.showAs(status, "files", d)
}

// waitingFiles says what of this device's files waits, and for what.
func (v *visit) waitingFiles(w *client.WaitingFiles) string {
	words := v.tf("filesWait", w.Files, size(w.Bytes))
	if w.Files == 1 {
		words = v.tf("fileWaits", size(w.Bytes))
	}
	switch {
	case w.ForLink:
		words += " " + v.t("waitsForLink")
	case w.Takes > 0:
		words += " " + v.tf("estAbout", w.Takes.Round(time.Second))
	}
	return words
}

// size writes a number of bytes.
func size(n int64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%d kB", max((n+999)/1000, 1))
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func (v *visit) fileLine(view *client.View) (fileLine, error) {
	m, ok := view.Message.(*tandemv1.Attachment)
	if !ok {
		return fileLine{}, client.ErrNotFound
	}
	f, err := v.dev.FileOf(v.ctx(), view)
	if err != nil {
		return fileLine{}, err
	}
	l := fileLine{
		ID: view.ID.String(), Title: m.GetTitle(), At: v.at(view.Origin.AtMS), Thumb: len(f.Thumb) > 0,
		Picture: media.Picture(m.GetMediaType()), Sound: m.GetMediaType() == media.M4A, Save: m.GetMediaType() == media.PDF,
		About: join(v.code("attachment_category", m.GetCategory()), size(f.Size)), Removable: f.Own && !f.Stored && f.Sent == 0,
	}
	if l.Title == "" {
		l.Title = v.code("media_type", m.GetMediaType())
	}
	switch {
	case len(view.Conflicts)+len(view.NotAccepted) > 0:
		l.Where = v.where(view)
	case f.Own && !f.Stored && f.Sent > 0:
		l.Where = web.Status{State: "here", Word: v.tf("sentPart", f.Sent*100/max(f.Size, 1))}
	case f.Own && !f.Stored:
		l.Where = web.Status{State: "here", Word: v.t("recHere")}
	case f.Held < f.Size && !f.Stored:
		// Whether the server has it is not known here.
		l.Where = web.Status{Word: v.t("notHere")}
	case f.Held < f.Size:
		l.Where = web.Status{State: "sent", Word: v.t("notHere")}
	default:
		l.Where = web.Status{State: "sent", Word: v.t("recSent")}
	}
	return l, nil
}

// attachFile attaches a file that was chosen, or a photo that was just taken.
func (v *visit) attachFile() error {
	owner, err := v.owner()
	if err != nil {
		return err
	}
	form, err := v.r.MultipartReader()
	if err != nil {
		return v.showFiles(http.StatusUnprocessableEntity, v.t("chooseFile"))
	}
	select {
	case taking <- struct{}{}:
		defer func() { <-taking }()
	case <-v.ctx().Done():
		return v.ctx().Err()
	}
	f := client.NewFile{Owner: owner, Category: "photo"}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return v.showFiles(http.StatusUnprocessableEntity, v.t("fileLarge"))
		}
		raw, err := io.ReadAll(io.LimitReader(part, media.MaxBytes+1))
		if err != nil {
			return v.showFiles(http.StatusUnprocessableEntity, v.t("fileLarge"))
		}
		switch part.FormName() {
		case "file":
			f.Raw = raw
			if f.Title == "" && !media.Picture(media.Sniff(raw)) {
				f.Title = strings.TrimSuffix(filepath.Base(part.FileName()), filepath.Ext(part.FileName()))
			}
		case "title":
			if t := strings.TrimSpace(string(raw)); t != "" {
				f.Title = t
			}
		case "category":
			f.Category = string(raw)
		}
	}
	switch kind := media.Sniff(f.Raw); {
	case kind == media.M4A:
		f.Category = "audio"
	case f.Category == "photo" && media.Picture(kind), f.Category == "id":
	default:
		f.Category = "document"
	}
	if _, err := v.dev.Attach(v.ctx(), f); err != nil {
		for want, key := range map[error]string{
			media.ErrEmpty: "chooseFile", media.ErrLarge: "fileLarge", media.ErrType: "fileType", media.ErrDamaged: "fileDamaged", media.ErrPixels: "filePixels",
			media.ErrActive: "fileActive", media.ErrSealed: "fileSealed",
		} {
			if errors.Is(err, want) {
				return v.showFiles(http.StatusUnprocessableEntity, v.t(key))
			}
		}
		return err
	}
	return v.to("files/" + owner.Kind.Name + "/" + owner.ID.String())
}

// sendFiles sends what waits for a better link, because somebody says so.
func (v *visit) sendFiles() error {
	ctx, cancel := context.WithTimeout(v.r.Context(), fetchTime)
	defer cancel()
	err := v.dev.SendFiles(ctx)
	if _, contact := errors.AsType[*client.ContactError](err); err != nil && !contact && ctx.Err() == nil {
		return err
	}
	return v.to("files/" + v.r.PathValue("kind") + "/" + v.r.PathValue("id"))
}

type fileData struct {
	Page    *web.Page
	Back    string
	Line    fileLine
	Text    string
	Here    bool
	Problem string
}

// filePage shows a file that is here, and offers to fetch one that is not: no page waits
// for the network by itself.
func (v *visit) filePage() error { return v.showFile("") }

func (v *visit) showFile(problem string) error {
	view, err := v.get("attachment")
	if err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.Attachment)
	if !ok || view.Lifecycle == record.Void || m.Text != nil {
		return client.ErrNotFound
	}
	d := &fileData{Problem: problem, Back: "files/" + m.GetOwner().GetKind() + "/" + m.GetOwner().GetId()}
	if d.Line, err = v.fileLine(view); err != nil {
		return err
	}
	d.Page = v.page(d.Line.Title)
	f, err := v.dev.FileOf(v.ctx(), view)
	if err != nil {
		return err
	}
	d.Here = f.Held == f.Size
	if d.Here && m.GetMediaType() == media.Text {
		file, err := v.dev.ReadFile(v.ctx(), view.ID)
		if err != nil {
			return err
		}
		d.Text = string(file.Bytes)
	}
	return v.show("file", d)
}

// fetchFile fetches a file, because somebody says so.
func (v *visit) fetchFile() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(v.r.Context(), fetchTime)
	defer cancel()
	f, err := v.dev.ReadFile(ctx, id)
	_, contact := errors.AsType[*client.ContactError](err)
	switch {
	case errors.Is(err, client.ErrNothing):
		return v.showFile(v.t("fileNowhere"))
	case contact || ctx.Err() != nil:
		return v.showFile(v.t("fetchLater"))
	case err != nil:
		return err
	}
	view, err := v.get("attachment")
	if err != nil {
		return err
	}
	if here, err := v.dev.FileOf(v.ctx(), view); err != nil || here.Held < here.Size {
		// There was no room to keep it: it is handed on at once.
		return errors.Join(err, v.bytes(view, func() (*media.File, error) { return f, nil }))
	}
	return v.to("file/" + id.String())
}

// fileBytes answers with the bytes of a file that is here.
func (v *visit) fileBytes() error {
	view, err := v.get("attachment")
	if err != nil {
		return err
	}
	return v.bytes(view, func() (*media.File, error) {
		f, err := v.dev.FileOf(v.ctx(), view)
		if err != nil {
			return nil, err
		}
		if f.Held < f.Size {
			// It is not fetched for a picture in a page.
			return nil, client.ErrNotFound
		}
		return v.dev.ReadFile(v.ctx(), view.ID)
	})
}

// fileThumb answers with the small picture.
func (v *visit) fileThumb() error {
	view, err := v.get("attachment")
	if err != nil {
		return err
	}
	return v.bytes(view, func() (*media.File, error) {
		f, err := v.dev.FileOf(v.ctx(), view)
		if err != nil {
			return nil, err
		}
		return &media.File{Type: media.JPEG, Bytes: f.Thumb}, nil
	})
}

// bytes answers with the bytes of a file and nothing that a browser could take for a page:
// a picture or a sound in its place, all else to be saved. What is not as it is kept, or has
// too many pixels for a browser, does not go out.
func (v *visit) bytes(view *client.View, read func() (*media.File, error)) error {
	if view.Lifecycle == record.Void {
		return client.ErrNotFound
	}
	f, err := read()
	if err != nil {
		return err
	}
	if media.Checked(f.Type, f.Bytes) != nil {
		return client.ErrNotFound
	}
	how := "attachment; filename=\"" + view.ID.String() + "." + f.Type + "\""
	if media.Picture(f.Type) || f.Type == media.M4A {
		how = "inline"
	}
	head := v.w.Header()
	head.Set("Content-Type", media.ContentType(f.Type))
	head.Set("Content-Disposition", how)
	head.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	head.Set("X-Content-Type-Options", "nosniff")
	// A player asks for a part of a sound.
	http.ServeContent(v.w, v.r, "", time.Time{}, bytes.NewReader(f.Bytes))
	return nil
}

// removeFile takes back a file that was not sent.
func (v *visit) removeFile() error {
	view, err := v.get("attachment")
	if err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.Attachment)
	if !ok {
		return client.ErrNotFound
	}
	err = v.dev.RemoveFile(v.ctx(), view.ID, v.t("takenBack"))
	if errors.Is(err, client.ErrSentFile) {
		return v.showFile(v.t("fileSent"))
	}
	if err != nil {
		return err
	}
	return v.to("files/" + m.GetOwner().GetKind() + "/" + m.GetOwner().GetId())
}
