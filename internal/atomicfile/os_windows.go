package atomicfile

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Windows locks no folders. It removes no open file, and removeAbandoned leaves
// alone what was written in the last hour.
func holdFolder(string) (release func(), err error) { return func() {}, nil }

func holdIdleFolder(string) (release func(), idle bool, err error) { return func() {}, true, nil }

func removeAbandoned(path string) error {
	info, err := os.Stat(path)
	if err != nil || time.Since(info.ModTime()) < time.Hour {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, errorSharingViolation) {
		return err
	}
	return nil
}

const errorSharingViolation = syscall.Errno(32)

// openLocked opens the file for this handle alone: share mode 0.
func openLocked(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errorSharingViolation) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), path), nil
}

// syncDir does nothing: Windows keeps renames in its journal and has no call
// that forces a folder's entries.
func syncDir(string) error { return nil }
