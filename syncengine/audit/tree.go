package audit

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is that of a node of the tree.
type Hash = tlog.Hash

// BlockLevel is the lowest level of which nodes are kept: 256 entries under one.
const BlockLevel = 8

// Block is how many entries stand under one node of BlockLevel.
const Block = 1 << BlockLevel

// ErrTree says that what is kept of a tree is none.
var ErrTree = errors.New("what is kept of the audit log's tree is damaged")

// Tree is the edge of a Merkle tree: all that appending needs. The zero value is the
// empty tree.
type Tree struct {
	size int64
	// edge are the roots of the full subtrees, the largest first.
	edge []Hash
}

// Node is a full subtree: number N, from 0, of its level.
type Node struct {
	Level int
	N     int64
	Hash  Hash
}

// Size is the number of entries.
func (t *Tree) Size() int64 { return t.size }

// Append adds an entry and returns the nodes of [BlockLevel] and above that it has
// completed.
func (t *Tree) Append(entry []byte) (done []Node) {
	h := tlog.RecordHash(entry)
	for level := 0; ; level++ {
		if level >= BlockLevel {
			done = append(done, Node{Level: level, N: t.size >> level, Hash: h})
		}
		if t.size>>level&1 == 0 {
			break
		}
		last := len(t.edge) - 1
		h = tlog.NodeHash(t.edge[last], h)
		t.edge = t.edge[:last]
	}
	t.edge = append(t.edge, h)
	t.size++
	return done
}

// Root returns the root of the tree, that of RFC 6962.
func (t *Tree) Root() Hash {
	if len(t.edge) == 0 {
		// The hash of nothing.
		root, _ := tlog.TreeHash(0, nil)
		return root
	}
	h := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.edge[i], h)
	}
	return h
}

// Edge returns the edge in one piece.
func (t *Tree) Edge() []byte {
	b := make([]byte, 0, len(t.edge)*tlog.HashSize)
	for _, h := range t.edge {
		b = append(b, h[:]...)
	}
	return b
}

// OpenTree is the inverse of Edge.
func OpenTree(size int64, edge []byte) (*Tree, error) {
	if size < 0 || len(edge) != bits.OnesCount64(uint64(size))*tlog.HashSize {
		return nil, ErrTree
	}
	t := &Tree{size: size}
	for ; len(edge) > 0; edge = edge[tlog.HashSize:] {
		t.edge = append(t.edge, Hash(edge))
	}
	return t, nil
}

// Source is where nodes and entries of a stored tree are read from.
type Source struct {
	// Node returns a kept node.
	Node func(level int, n int64) (Hash, error)
	// Entries returns the entries from one on, up to another, which is excluded.
	Entries func(from, to int64) ([][]byte, error)
}

// ReadHashes implements tlog.HashReader.
func (s Source) ReadHashes(indexes []int64) ([]Hash, error) {
	out := make([]Hash, 0, len(indexes))
	for _, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if level >= BlockLevel {
			h, err := s.Node(level, n)
			if err != nil {
				return nil, err
			}
			out = append(out, h)
			continue
		}
		entries, err := s.Entries(n<<level, (n+1)<<level)
		if err != nil {
			return nil, err
		}
		if len(entries) != 1<<level {
			return nil, fmt.Errorf("%w: entries from %d on are missing", ErrTree, n<<level)
		}
		t := &Tree{}
		for _, e := range entries {
			t.Append(e)
		}
		out = append(out, t.Root())
	}
	return out, nil
}

// ProveExtends returns the hashes that prove a tree of size newer to extend that of
// size older.
func ProveExtends(newer, older int64, s Source) ([][]byte, error) {
	if older == newer || older == 0 {
		return nil, nil
	}
	proof, err := tlog.ProveTree(newer, older, s)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, 0, len(proof))
	for _, h := range proof {
		out = append(out, h[:])
	}
	return out, nil
}

// Extends reports whether a proof shows that a newer checkpoint extends an older one.
func Extends(newer, older *Checkpoint, proof [][]byte) bool {
	if older.Size == newer.Size || older.Size == 0 {
		return older.Size == 0 || older.Root == newer.Root
	}
	p := make(tlog.TreeProof, 0, len(proof))
	for _, h := range proof {
		if len(h) != tlog.HashSize {
			return false
		}
		p = append(p, Hash(h))
	}
	return older.Size < newer.Size && tlog.CheckTree(p, newer.Size, newer.Root, older.Size, older.Root) == nil
}
