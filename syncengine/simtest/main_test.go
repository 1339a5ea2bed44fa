//go:build !plantedbugs

package simtest_test

import (
	"os"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
