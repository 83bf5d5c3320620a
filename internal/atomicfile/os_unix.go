//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// holdFolder keeps Sweep out of dir until release or the end of the process.
// Any number of writers may hold a folder.
func holdFolder(dir string) (release func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	lock(d, syscall.LOCK_SH) // a file system without locks is no reason not to write
	return func() { d.Close() }, nil
}

// holdIdleFolder keeps writers out of dir until release. It is not idle when
// somebody is writing there, or when the file system cannot tell.
func holdIdleFolder(dir string) (release func(), idle bool, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	if lock(d, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		d.Close()
		return nil, false, nil
	}
	return func() { d.Close() }, true, nil
}

func removeAbandoned(path string) error { return os.Remove(path) }

func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := lock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, err
	}
	return f, nil
}

// lock is flock(2), begun again when a signal breaks it off.
func lock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// syncDir forces the folder's entries to the disk, so that a rename outlives a
// power cut. Some file systems cannot do it and say EINVAL or ENOTSUP.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}
