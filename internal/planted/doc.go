// Package planted is a list of bugs that other sync engines shipped, each behind a
// switch in the code that it would break, so that the simulator can be seen to find
// them. The switches exist only in a build with the tag plantedbugs: without it Is
// is constantly false and the compiler leaves no trace of them.
//
// To plant a bug, add its name to the list in bugs.go, a line to its row in
// table_on.go, and `if planted.Is(planted.Name)` where it bites. Rows are in no
// order; those of restores, epochs and janitors stand in groups of their own.
package planted
