// Package atomicfile writes files that are either whole or not there: whatever
// happens while one is written (an error, a kill, a power cut), its path holds
// the complete old content or the complete new one. It also holds the lock by
// which two processes keep out of each other's folder, and makes folders that nobody else
// gets.
package atomicfile

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Write replaces the file at path by what write writes, in this order: a
// temporary file in the same folder, its data forced to the disk, closed,
// renamed over path, and the folder forced to the disk. After an error the old
// file is untouched and the temporary file gone, with one exception: when only
// the last operation fails, path already holds the new content, which a power
// cut may still undo.
//
// The new file's mode is 0666 less the umask. A symbolic link at path is
// replaced, not followed. What a killed process leaves behind is for Sweep.
func Write(path string, write func(io.Writer) error) error {
	return writeFile(osFS{}, path, write)
}

func writeFile(fsys fileSystem, path string, write func(io.Writer) error) (err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %q: %w", path, err)
		}
	}()
	release, err := holdFolder(dir)
	if err != nil {
		return err
	}
	defer release()
	temp := filepath.Join(dir, "."+name+".tmp-"+rand.Text())
	f, err := fsys.create(temp)
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		if !renamed {
			f.Close() // a second Close does no harm, and Windows removes no open file
			if e := fsys.remove(temp); e != nil {
				err = fmt.Errorf("%w; left behind: %w", err, e)
			}
		}
	}()

	buffered := bufio.NewWriterSize(f, 1<<16)
	if err := write(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := fsys.rename(temp, path); err != nil {
		return err
	}
	renamed = true
	return fsys.syncDir(dir)
}

// tempName is what Write calls its temporary files: rand.Text makes 26 letters
// and digits of base 32.
var tempName = regexp.MustCompile(`^\..+\.tmp-[A-Z2-7]{26}$`)

// Sweep removes the temporary files that killed processes left in dir. While
// somebody is writing there it removes nothing. A missing dir is no error.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	release, idle, err := holdIdleFolder(dir)
	if err != nil || !idle {
		return err
	}
	defer release()
	for _, e := range entries {
		if !e.Type().IsRegular() || !tempName.MatchString(e.Name()) {
			continue
		}
		err := removeAbandoned(filepath.Join(dir, e.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// NewFolder makes a folder of that name in parent, which it makes too, or one with a number
// behind the name where there is one already: nobody else gets the same. It returns its
// path.
func NewFolder(parent, name string) (string, error) {
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return "", err
	}
	dir := filepath.Join(parent, name)
	for i := 2; ; i++ {
		err := os.Mkdir(dir, 0o777)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		dir = filepath.Join(parent, fmt.Sprintf("%s-%d", name, i))
	}
}

// TryLock takes the lock that the file at path stands for, without waiting: the
// error is ErrLocked when another process, or another call in this one, holds
// it. The file is created when missing and stays, empty, after unlock. The lock
// ends with unlock or with the process, so a killed one never bars the way.
func TryLock(path string) (unlock func(), err error) {
	f, err := openLocked(path)
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// fileSystem is what Write does to the disk, so that tests can make each
// operation fail.
type fileSystem interface {
	create(path string) (file, error) // new files only
	rename(from, to string) error
	remove(path string) error
	syncDir(dir string) error
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

type osFS struct{}

func (osFS) create(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}
func (osFS) rename(from, to string) error { return os.Rename(from, to) }
func (osFS) remove(path string) error     { return os.Remove(path) }
func (osFS) syncDir(dir string) error     { return syncDir(dir) }
