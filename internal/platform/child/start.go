package child

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"syscall"
)

// A Process is a program that is looked after while it works.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// Start starts a program that writes to output. When we are killed it gets SIGINT, on which
// it can clean up.
func Start(p Program, output io.Writer) (*Process, error) { return StartApart(p, output, output) }

// StartApart is Start for a program whose standard error goes elsewhere. While a writer waits, the program
// waits too.
func StartApart(p Program, output, said io.Writer) (*Process, error) {
	cmd, err := p.command(context.Background())
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = output, said, drain
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
	c := &Process{cmd: cmd, ended: make(chan struct{})}
	began := make(chan error, 1)
	go func() {
		// Linux sends the signal when the thread ends that has started the program. It is never
		// unlocked, so that it ends with this goroutine.
		runtime.LockOSThread()
		err := cmd.Start()
		began <- err
		if err != nil {
			return
		}
		await(cmd.Process.Pid)
		if c.err = cmd.Wait(); errors.Is(c.err, exec.ErrWaitDelay) {
			c.err = nil
		}
		close(c.ended)
	}()
	if err := <-began; err != nil {
		return nil, err
	}
	return c, nil
}

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err is how it ended; to be read after that.
func (p *Process) Err() error { return p.err }

// Interrupt asks the program to clean up and end.
func (p *Process) Interrupt() { _ = p.cmd.Process.Signal(syscall.SIGINT) } // it may have ended already

// Kill ends the program and everything that it has started.
func (p *Process) Kill() {
	select {
	case <-p.ended:
	default:
		_ = endGroup(p.cmd.Process.Pid) // it may have ended already
	}
}
