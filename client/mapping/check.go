package mapping

import (
	"context"
	"errors"
)

// maxErrors is how many faulty rows a Summary tells of one by one.
const maxErrors = 100

// Summary is what Check found.
type Summary struct {
	// Rows is Good and Bad together.
	Rows, Good, Bad int
	// Errors are the first of the bad rows.
	Errors []*RowError
}

// Check reads every row and keeps none: what an import that takes all rows or none
// does first. progress, where it is not nil, is told how far into the file the
// check is, see Size. The error is that of Rows, *RowError excepted: those are
// counted in the summary.
func (f *File) Check(ctx context.Context, into Envelope, progress func(read int64)) (*Summary, error) {
	var sum Summary
	for row, err := range f.Rows(ctx, into) {
		bad, faulty := errors.AsType[*RowError](err)
		switch {
		case faulty:
			sum.Bad++
			if len(sum.Errors) < maxErrors {
				sum.Errors = append(sum.Errors, bad)
			}
		case err != nil:
			return &sum, err
		default:
			sum.Good++
		}
		sum.Rows++
		if progress != nil {
			progress(row.End)
		}
	}
	return &sum, nil
}
