package console

import (
	"errors"
	"io"
	"net/http"
)

// maxUpload is the longest form with a file in it, in bytes; what is longer goes through the
// command.
const maxUpload = 8 << 20

// uploads are the addresses to which files are sent.
var uploads = map[string]bool{"/console/forms/import": true, "/console/directory": true, "/console/directory/apply": true, "/console/outcomes/population": true}

// file is a file of the form that was sent. It is held in memory and nowhere else.
func (v *visit) file(name string) ([]byte, string, error) {
	//nolint:gosec // ServeHTTP has bounded the body.
	if err := v.r.ParseMultipartForm(maxUpload); err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			return nil, "", errLong
		}
		return nil, "", errForm
	}
	f, head, err := v.r.FormFile(name)
	if err != nil {
		return nil, "", errForm
	}
	defer f.Close() //nolint:errcheck // It was only read.
	raw, err := io.ReadAll(f)
	return raw, head.Filename, err
}
