package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// maxPopulation bounds the rows of a table of population.
const maxPopulation = 20_000

// ReadPopulation reads a table of how many people live somewhere: CSV with the columns
// breakdown, group, people. Breakdowns and groups are those of a report, for example
// gender and woman, or zip and 61820.
func ReadPopulation(r io.Reader) (map[string]map[string]int, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = 3
	head, err := in.Read()
	if err != nil || !slices.Equal(head, []string{"breakdown", "group", "people"}) {
		return nil, errors.New("the population table begins with the line breakdown,group,people")
	}
	all := map[string]map[string]int{}
	known := append(slices.Clone(ofCalls), byModel)
	for line := 2; ; line++ {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the population table: %w", err)
		}
		if line > maxPopulation {
			return nil, fmt.Errorf("the population table has more than %d lines", maxPopulation)
		}
		n, err := strconv.Atoi(row[2])
		if err != nil || n < 0 || !slices.Contains(known, row[0]) || row[1] == "" {
			return nil, fmt.Errorf("the population table, line %d: want one of the breakdowns %v, a group, and a number of people", line, known)
		}
		if all[row[0]] == nil {
			all[row[0]] = map[string]int{}
		}
		if _, twice := all[row[0]][row[1]]; twice {
			return nil, fmt.Errorf("the population table, line %d: this group stands there twice", line)
		}
		all[row[0]][row[1]] = n
	}
}
