package atomicfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("ATOMICFILE_TEST_SAVE"); path != "" {
		saveForever(path, os.Getenv("ATOMICFILE_TEST_NAIVE") != "")
	}
	os.Exit(m.Run())
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	for _, want := range []string{"old", "", "new and longer"} {
		if err := Write(path, text(want)); err != nil {
			t.Fatalf("Write(%q) = %v, want nil", want, err)
		}
		if got := content(t, path); got != want {
			t.Errorf("content after Write(%q) = %q", want, got)
		}
	}

	// An ordinary file's mode is the yardstick: it knows the umask.
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	got, _ := os.Stat(path)
	want, _ := os.Stat(plain)
	if got.Mode() != want.Mode() {
		t.Errorf("mode = %v, want %v", got.Mode(), want.Mode())
	}

	t.Chdir(dir)
	if err := Write("here", text("x")); err != nil {
		t.Errorf("Write without a folder = %v, want nil", err)
	}
	if got, want := names(t, dir), []string{"a.txt", "here", "plain"}; !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
}

func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kept")
	if err := Write(path, text("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o777); err != nil {
		t.Fatal(err)
	}

	boom := errors.New("boom")
	err := Write(path, func(w io.Writer) error {
		fmt.Fprint(w, strings.Repeat("half", 1<<18))
		return boom
	})
	if want := fmt.Sprintf("write %q: boom", path); !errors.Is(err, boom) || err.Error() != want {
		t.Errorf("Write with a failing writer = %v, want %s", err, want)
	}
	if err := Write(filepath.Join(dir, "folder"), text("x")); err == nil {
		t.Error("Write over a folder = nil, want an error")
	}
	if err := Write(filepath.Join(dir, "none", "x"), text("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write into a missing folder = %v, want ErrNotExist", err)
	}
	func() {
		defer func() { recover() }()
		Write(path, func(io.Writer) error { panic("in the writer") })
	}()

	if got := content(t, path); got != "old" {
		t.Errorf("content = %q, want %q", got, "old")
	}
	if got, want := names(t, dir), []string{"folder", "kept"}; !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
}

// faultFS counts the operations and makes number fail, from 1, fail with err. A
// short write stores half before it fails.
type faultFS struct {
	fileSystem
	fail  int
	err   error
	stuck bool // remove fails
	ops   []string
}

type faultFile struct {
	file
	fs *faultFS
}

func (f *faultFS) op(name string) error {
	f.ops = append(f.ops, name)
	if len(f.ops) == f.fail {
		return f.err
	}
	return nil
}

func (f *faultFS) create(path string) (file, error) {
	if err := f.op("create"); err != nil {
		return nil, err
	}
	inner, err := f.fileSystem.create(path)
	return &faultFile{inner, f}, err
}

func (f *faultFS) rename(from, to string) error {
	if err := f.op("rename"); err != nil {
		return err
	}
	return f.fileSystem.rename(from, to)
}

func (f *faultFS) remove(path string) error {
	if f.stuck {
		return syscall.EBUSY
	}
	return f.fileSystem.remove(path)
}

func (f *faultFS) syncDir(dir string) error {
	if err := f.op("sync folder"); err != nil {
		return err
	}
	return f.fileSystem.syncDir(dir)
}

func (f *faultFile) Write(p []byte) (int, error) {
	if err := f.fs.op("write"); err != nil {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, err
	}
	return f.file.Write(p)
}

func (f *faultFile) Sync() error {
	if err := f.fs.op("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultFile) Close() error {
	err := f.file.Close()
	if err == nil { // the first Close
		err = f.fs.op("close")
	}
	return err
}

func TestWriteFaults(t *testing.T) {
	const fresh = "new and longer"
	good := &faultFS{fileSystem: osFS{}}
	if err := writeFile(good, filepath.Join(t.TempDir(), "f"), text(fresh)); err != nil {
		t.Fatal(err)
	}
	// The order is the promise: nothing is renamed before it is on the disk.
	if want := []string{"create", "write", "sync", "close", "rename", "sync folder"}; !slices.Equal(good.ops, want) {
		t.Fatalf("operations = %q, want %q", good.ops, want)
	}

	for k, op := range good.ops {
		for _, fault := range []error{syscall.EIO, syscall.ENOSPC, io.ErrShortWrite, syscall.EACCES, syscall.EXDEV} {
			t.Run(fmt.Sprintf("%s %v", op, fault), func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "f")
				if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
					t.Fatal(err)
				}
				err := writeFile(&faultFS{fileSystem: osFS{}, fail: k + 1, err: fault}, path, text(fresh))
				if !errors.Is(err, fault) {
					t.Errorf("error = %v, want %v", err, fault)
				}
				want := "old"
				if op == "sync folder" {
					want = fresh
				}
				if got := content(t, path); got != want {
					t.Errorf("content = %q, want %q", got, want)
				}
				if got := names(t, dir); len(got) != 1 {
					t.Errorf("files left = %q, want only f", got)
				}
			})
		}
	}
}

func TestWriteCannotRemove(t *testing.T) {
	fsys := &faultFS{fileSystem: osFS{}, fail: 3, err: syscall.EIO, stuck: true}
	err := writeFile(fsys, filepath.Join(t.TempDir(), "f"), text("x"))
	if !errors.Is(err, syscall.EIO) || !errors.Is(err, syscall.EBUSY) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error = %v, want one line with both %v and %v", err, syscall.EIO, syscall.EBUSY)
	}
}

// saveForever writes numbered records with a checksum to path, and says each
// number on standard output once it is saved, until the process is killed.
func saveForever(path string, naive bool) {
	record := make([]byte, 1<<20)
	end := len(record) - 4
	save := func(w io.Writer) error {
		for piece := range slices.Chunk(record, 1<<12) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return nil
	}
	for i := uint64(1); ; i++ {
		binary.LittleEndian.PutUint64(record, i)
		binary.LittleEndian.PutUint32(record[end:], crc32.ChecksumIEEE(record[:end]))
		var err error
		if naive {
			var f *os.File
			if f, err = os.Create(path); err == nil {
				err = errors.Join(save(f), f.Close())
			}
		} else {
			err = Write(path, save)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// killOnce lets a child save to path, kills it after a random time, and returns
// the last number it said to have saved and the one found, 0 for a torn file.
func killOnce(t *testing.T, path string, naive bool) (said, found uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ATOMICFILE_TEST_SAVE="+path)
	if naive {
		cmd.Env = append(cmd.Env, "ATOMICFILE_TEST_NAIVE=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if fmt.Sscan(lines.Text(), &said); said == 1 {
			wait := time.Duration(rand.IntN(20_000)) * time.Microsecond
			time.AfterFunc(wait, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()

	b := []byte(content(t, path))
	if end := len(b) - 4; end > 8 && crc32.ChecksumIEEE(b[:end]) == binary.LittleEndian.Uint32(b[end:]) {
		found = binary.LittleEndian.Uint64(b)
	}
	return said, found
}

func TestKill(t *testing.T) {
	const kills = 50
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	left := 0
	for range kills {
		said, found := killOnce(t, path, false)
		if found == 0 || found < said {
			t.Errorf("after a kill the file holds save %d (0: torn), want at least %d", found, said)
		}
		left += len(names(t, dir)) - 1
		if err := Sweep(dir); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); len(got) != 1 {
			t.Fatalf("files after Sweep = %q, want only state", got)
		}
	}

	// The control: without Write the same kills tear files, so this test can fail.
	torn := 0
	const naiveKills = 10
	for range naiveKills {
		if _, found := killOnce(t, path, true); found == 0 {
			torn++
		}
	}
	t.Logf("%d kills: 0 torn, %d temporary files swept; naive writing: %d of %d torn", kills, left, torn, naiveKills)
	if left == 0 || torn == 0 {
		t.Errorf("temporary files left = %d, torn by naive writing = %d, want both above 0: the kills hit nothing", left, torn)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	id := strings.Repeat("A", 26)
	stale := ".model.safetensors.tmp-" + id
	others := []string{".x.tmp-123", "x.tmp-" + id, ".tmp-" + id, ".x.tmp-" + id + "B", ".x.tmp-" + strings.ToLower(id)}
	for _, name := range append(others, stale) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	folder := ".folder.tmp-" + id
	if err := os.Mkdir(filepath.Join(dir, folder), 0o777); err != nil {
		t.Fatal(err)
	}

	// A sweep in the middle of a Write leaves that Write's file alone.
	err := Write(filepath.Join(dir, "alive"), func(w io.Writer) error {
		if err := Sweep(dir); err != nil {
			t.Errorf("Sweep = %v, want nil", err)
		}
		return text("x")(w)
	})
	if err != nil {
		t.Errorf("Write with a Sweep inside = %v, want nil", err)
	}
	if err := Sweep(dir); err != nil {
		t.Errorf("Sweep = %v, want nil", err)
	}
	want := append(others, folder, "alive")
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}

	if err := Sweep(filepath.Join(dir, "none")); err != nil {
		t.Errorf("Sweep of a missing folder = %v, want nil", err)
	}
	if err := Sweep(filepath.Join(dir, "alive")); err == nil {
		t.Error("Sweep of a file = nil, want an error")
	}
}

// Writers and a sweeper at once: no Write loses its temporary file.
func TestSweepRace(t *testing.T) {
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			if err := Write(filepath.Join(dir, "f"), text(fmt.Sprint(i))); err != nil {
				t.Errorf("Write %d = %v, want nil", i, err)
			}
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			if err := Sweep(dir); err != nil {
				t.Fatalf("Sweep = %v, want nil", err)
			}
		}
	}
}

func TestTryLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := TryLock(path)
	if err != nil {
		t.Fatalf("TryLock = %v, want nil", err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second TryLock = %v, want %v", err, ErrLocked)
	}
	unlock()
	again, err := TryLock(path)
	if err != nil {
		t.Fatalf("TryLock after unlock = %v, want nil", err)
	}
	again()
	if _, err := TryLock(filepath.Join(path, "below a file")); err == nil {
		t.Error("TryLock below a file = nil, want an error")
	}
}

func TestWriteBig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big")
	want := bytes.Repeat([]byte("0123456789"), 1<<17)
	err := Write(path, func(w io.Writer) error {
		for b := range slices.Chunk(want, 777) {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	if got := content(t, path); err != nil || got != string(want) {
		t.Errorf("Write of %d bytes in small pieces: error %v, content of %d bytes", len(want), err, len(got))
	}
}

func TestNewFolder(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "new")
	made := make(chan string)
	const together = 20
	for range together {
		go func() {
			dir, err := NewFolder(parent, "study")
			if err != nil {
				t.Error(err)
			}
			made <- dir
		}()
	}
	var all []string
	for range together {
		all = append(all, <-made)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != together || !slices.Contains(all, filepath.Join(parent, "study")) || !slices.Contains(all, filepath.Join(parent, "study-20")) {
		t.Errorf("folders %q, want study and study-2 to study-20", all)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if dir, err := NewFolder(file, "study"); err == nil {
		t.Errorf("NewFolder in a file = %q", dir)
	}
}
