// Package docker are the actions on a Docker engine: what gives its disk back.
package docker
