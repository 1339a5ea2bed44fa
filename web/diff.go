package web

import "strings"

// Piece is a part of a difference. Op is empty for what stands in both, "del" for what
// only the first has, "ins" for what only the second has.
type Piece struct{ Text, Op string }

// mostDiffed bounds the words of a difference.
const mostDiffed = 1200

// Difference says word by word what b has that a has not, and the other way. Texts too
// long for that stand one after the other.
func Difference(a, b string) []Piece {
	x, y := parts(a), parts(b)
	if len(x) > mostDiffed || len(y) > mostDiffed {
		return []Piece{{a, "del"}, {b, "ins"}}
	}
	// The longest words in common.
	n := make([][]uint16, len(x)+1)
	for i := range n {
		n[i] = make([]uint16, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	var out []Piece
	put := func(op, text string) {
		if len(out) > 0 && out[len(out)-1].Op == op {
			out[len(out)-1].Text += text
			return
		}
		out = append(out, Piece{text, op})
	}
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			put("", x[i])
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && n[i+1][j] >= n[i][j+1]:
			put("del", x[i])
			i++
		default:
			put("ins", y[j])
			j++
		}
	}
	return out
}

// parts are words, each with the space after it.
func parts(s string) []string { return strings.SplitAfter(s, " ") }
