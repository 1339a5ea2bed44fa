package console

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/directory"
	"github.com/tandem-response/tandem/web"
)

type directoryData struct {
	Page *web.Page
	// Entries are how many the directory has, Own those of the person's own agency.
	Entries, Own int
	Faults       []string
	// Report is what an import would do, with what the source has and an entry cannot hold;
	// File is the source again, for the form that applies it.
	Report *server.DirectoryReport
	Notes  []string
	File   string
	Name   string
	Retire bool
	Zip    bool
	More   int
}

// Bounds of a source that comes in by a page: as it is sent, and as it is unpacked.
const (
	maxSource   = 4 << 20
	maxUnpacked = 64 << 20
)

// mostLines is how many changes of a directory a page names.
const mostLines = 300

func (v *visit) directoryPage() error { return v.directoryShow(200, &directoryData{}) }

func (v *visit) directoryShow(status int, d *directoryData) error {
	d.Page = v.page("navDirectory", "directory")
	err := v.look("directory", syncengine.ID{}, func(s *sight) error {
		for _, it := range s.reference("resource") {
			d.Entries++
			if it.rec.Text(syncengine.FieldAgency) == s.p.Agency.String() {
				d.Own++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(status, "directory", d)
}

// errZip says that an archive cannot be read.
var errZip = errors.New("this is no ZIP of HSDS tables")

// readDirectory reads a source: HSDS as JSON, or a ZIP of its tables.
func readDirectory(raw []byte, day string) (*directory.Result, error) {
	if !bytes.HasPrefix(raw, []byte("PK")) {
		return directory.ReadJSON(raw, day)
	}
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, errZip
	}
	var size uint64
	for _, f := range archive.File {
		size += min(f.UncompressedSize64, maxUnpacked+1)
	}
	if size > maxUnpacked {
		return nil, errLong
	}
	var root fs.FS = archive
	// Many archives hold one directory with everything in it.
	if all, err := fs.ReadDir(archive, "."); err == nil && len(all) == 1 && all[0].IsDir() {
		if root, err = fs.Sub(archive, all[0].Name()); err != nil {
			return nil, errZip
		}
	}
	return directory.ReadTables(root, day)
}

// previewDirectory says what a file would change in the directory, and changes nothing.
func (v *visit) previewDirectory() error {
	raw, name, err := v.file("file")
	if err != nil {
		return err
	}
	if len(raw) > maxSource {
		return errLong
	}
	return v.bringIn(raw, name, v.r.FormValue("retire") == "true", false)
}

// applyDirectory brings in what was previewed.
func (v *visit) applyDirectory() error {
	packed, err := base64.StdEncoding.DecodeString(v.form("source"))
	if err != nil {
		return errForm
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return errForm
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxSource+1))
	if err != nil || len(raw) > maxSource {
		return errForm
	}
	return v.bringIn(raw, v.form("name"), v.form("retire") == "true", true)
}

func (v *visit) bringIn(raw []byte, name string, retire, apply bool) error {
	d := &directoryData{Retire: retire, Name: name, Zip: bytes.HasPrefix(raw, []byte("PK"))}
	read, err := readDirectory(raw, v.now().UTC().Format(time.DateOnly))
	if errors.Is(err, errLong) {
		return err
	}
	if err != nil {
		d.Faults = strings.Split(err.Error(), "\n")
		return v.directoryShow(http.StatusUnprocessableEntity, d)
	}
	office, agency := v.office().As(v.who.Staff), v.who.Principal.Agency
	if apply {
		if _, err := office.ImportDirectory(v.ctx(), agency, read.Resources, retire); err != nil {
			return err
		}
		return v.to("directory?done=okDirectory")
	}
	if d.Report, err = office.PreviewDirectory(v.ctx(), agency, read.Resources, retire); err != nil {
		return err
	}
	d.Notes = read.Notes
	if len(d.Report.Lines) > mostLines {
		d.More, d.Report.Lines = len(d.Report.Lines)-mostLines, d.Report.Lines[:mostLines]
	}
	for i := range d.Report.Lines {
		for n, field := range d.Report.Lines[i].Fields {
			d.Report.Lines[i].Fields[n] = v.c.domain.FieldLabel("resource", field, v.lang)
		}
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	d.File = base64.StdEncoding.EncodeToString(b.Bytes())
	return v.directoryShow(200, d)
}
