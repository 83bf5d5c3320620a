package dataset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"glassnet/internal/usererr"
)

func TestStatusAndVerify(t *testing.T) {
	files := fakeMNIST(t)
	fewDigits(t)
	isolate(t)
	ctx := context.Background()
	if err := os.Mkdir("given", 0o777); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: "given", Offline: true, DrawnSeed: unpinned}

	// state finds the state of a set in a place.
	state := func(name, place string) SetStatus {
		t.Helper()
		for _, s := range Status(ctx, o) {
			if s.Name == name && s.Place == place {
				return s
			}
		}
		t.Fatalf("Status has no %s in %s", name, place)
		return SetStatus{}
	}

	var got []string
	for _, s := range Status(ctx, o) {
		got = append(got, s.Name+" "+s.Place+" "+filepath.ToSlash(s.Dir)+" "+s.State)
	}
	cache := filepath.ToSlash(cached(t))
	want := []string{
		"mnist --data given/mnist missing",
		"mnist working folder data/mnist missing",
		"mnist beside the working folder ../shared/data/mnist missing",
		"mnist cache " + cache + "/mnist missing",
		"drawn-digits --data given/drawn-digits/seed-77 missing",
		"drawn-digits working folder data/drawn-digits/seed-77 missing",
		"drawn-digits beside the working folder ../shared/data/drawn-digits/seed-77 missing",
		"drawn-digits cache " + cache + "/drawn-digits/seed-77 missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Status = %q, want %q", got, want)
	}
	checkUserError(t, "Verify of nothing", verify(ctx, o), "no data set is here")

	saveAll(t, "data/mnist", files)
	if _, err := Load(ctx, "drawn-digits", o); err != nil {
		t.Fatal(err)
	}
	for _, s := range []SetStatus{state("mnist", "working folder"), state("drawn-digits", "cache")} {
		if s.State != "verified" || len(s.Files) != 4 {
			t.Errorf("%s: state %q with %d files, want verified with 4", s.Name, s.State, len(s.Files))
		}
		for _, f := range s.Files {
			if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Size || f.State != "verified" || len(f.SHA256) != 64 {
				t.Errorf("%s: %+v, want it verified", s.Name, f)
			}
		}
	}
	if f := state("mnist", "working folder").Files[1]; f.SHA256 != mnistSums[1] {
		t.Errorf("SHA256 of %s = %s, want %s", f.Path, f.SHA256, mnistSums[1])
	}
	if err := verify(ctx, o); err != nil {
		t.Errorf("Verify = %v, want nil", err)
	}

	// One fault after the other.
	check := func(name, place, fault string, badFiles int) {
		t.Helper()
		s := state(name, place)
		bad := 0
		for _, f := range s.Files {
			if strings.HasPrefix(f.State, "damaged: ") {
				bad++
			}
		}
		if !strings.HasPrefix(s.State, "damaged: ") || !strings.Contains(s.State, fault) || bad != badFiles {
			t.Errorf("%s: state %q with %d damaged files, want damaged with %q and %d", name, s.State, bad, fault, badFiles)
		}
		checkUserError(t, "Verify", verify(ctx, o), fault)
	}
	sums := cached(t, "drawn-digits", "seed-77", sumFile)
	os.Remove(sums)
	check("drawn-digits", "cache", "no such file", 0)
	save(t, sums, []byte("0123\n"))
	check("drawn-digits", "cache", "want 0123", 0)
	save(t, filepath.Join("data", "mnist", fileNames[0]), put(files[0], 20, 77))
	check("mnist", "working folder", "SHA-256 of the decompressed content is", 1)
	save(t, filepath.Join("data", "mnist", fileNames[0]), files[0][:20])
	check("mnist", "working folder", "byte 16: the file has 4 bytes of data", 1)
	if f := state("mnist", "working folder").Files[0]; f.SHA256 != "" {
		t.Errorf("the content of a file that cannot be read has the SHA-256 %s", f.SHA256)
	}
	// What is damaged in a folder of one's own does not come back into it.
	hint := func() string {
		_, err := Load(ctx, "mnist", o)
		e, _ := usererr.Find(err)
		if e == nil {
			t.Fatal(err)
		}
		return e.Hint
	}
	if got := hint(); !strings.HasPrefix(got, "replace the damaged file, or take away the folder") {
		t.Errorf("hint in the working folder: %q", got)
	}
	saveAll(t, cached(t, "mnist"), files)
	save(t, cached(t, "mnist", fileNames[0]), files[0][:20])
	if err := os.Rename("data", "away"); err != nil {
		t.Fatal(err)
	}
	if got := hint(); got != "remove the damaged file; glassnet data fetch brings it again" {
		t.Errorf("hint in the cache: %q", got)
	}
	if err := errors.Join(os.Rename("away", "data"), os.RemoveAll(cached(t, "mnist"))); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join("data", "mnist", fileNames[0]))
	check("mnist", "working folder", "no file train-images-idx3-ubyte", 0)

	o.Dir = "nowhere"
	if s := state("mnist", "--data"); !strings.HasPrefix(s.State, `missing: --data "nowhere": `) {
		t.Errorf("state of a folder that is not there = %q", s.State)
	}
	checkUserError(t, "Verify", verify(ctx, o), `--data "nowhere": `)

	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if got := Status(stopped, o); len(got) != 0 {
		t.Errorf("Status with a cancelled context = %v, want nothing", got)
	}
	o.Dir = ""
	if err := verify(stopped, o); err != context.Canceled {
		t.Errorf("Verify with a cancelled context = %v, want %v", err, context.Canceled)
	}
}

func verify(ctx context.Context, o Options) error {
	_, err := Verify(ctx, o)
	return err
}
