// Package elementary holds the scalar functions whose bits must not depend on
// the machine.
package elementary
