package host_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/host"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func here() *target.Host { return &target.Host{Name: "s", Root: "/"} }

// samples asks a collector once; the keys are as in the exposition.
func samples(t *testing.T, c collectors.Collector) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	for line := range strings.Lines(collectortest.Answer(t, c)) {
		at := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		all[line[:at]] = v
	}
	return all
}

// program runs another tool and returns its words, one slice a line.
func program(t *testing.T, name string, args ...string) (lines [][]string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.Fields(line))
	}
	return lines
}

// number returns the figure of vmstat that a line of the given words ends with.
func number(t *testing.T, lines [][]string, words string) float64 {
	t.Helper()
	for _, l := range lines {
		if len(l) > 1 && strings.Join(l[1:], " ") == words {
			v, err := strconv.ParseFloat(l[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no %q in %v", words, lines)
	return 0
}

// between holds a figure that grows against two that another tool read before and after it.
func between(t *testing.T, what string, before, got, after float64) {
	t.Helper()
	if got < before || got > after {
		t.Errorf("%s is %v; other tools say %v before and %v after it", what, got, before, after)
	}
}

func TestCPU(t *testing.T) {
	collectortest.HostContract(t, host.CPU)
	before := program(t, "vmstat", "-s")
	got := samples(t, host.CPU(here()))
	after := program(t, "vmstat", "-s")
	for mode, words := range map[string]string{"user": "non-nice user cpu ticks", "nice": "nice user cpu ticks",
		"system": "system cpu ticks", "irq": "IRQ cpu ticks", "softirq": "softirq cpu ticks",
		"steal": "stolen cpu ticks"} {
		const hertz = 100 // of the ticks that the kernel shows to programs
		between(t, mode, number(t, before, words)/hertz, got[`upkeep_host_cpu_seconds_total{server="s",mode="`+mode+`"}`],
			number(t, after, words)/hertz)
	}
	want := program(t, "getconf", "_NPROCESSORS_ONLN")[0][0]
	if n := got[`upkeep_host_cpus{server="s"}`]; strconv.Itoa(int(n)) != want {
		t.Errorf("%v processors, getconf says %s", n, want)
	}
	between(t, "boot", number(t, before, "boot time")-1, got[`upkeep_host_boot_timestamp_seconds{server="s"}`],
		number(t, before, "boot time")+1)
	servertest.Eventually(t, "the load average", func() error { // it changes every five seconds
		load, text := samples(t, host.CPU(here())), program(t, "cat", "/proc/loadavg")[0]
		for i, over := range []string{"1m", "5m", "15m"} {
			v := load[`upkeep_host_load_average{server="s",over="`+over+`"}`]
			if fmt.Sprintf("%.2f", v) != text[i] {
				return fmt.Errorf("over %s it is %v, and the kernel says %s", over, v, text[i])
			}
		}
		return nil
	})
}

// A program that computes is seen as time of a processor.
func TestCPUIsSeenToWork(t *testing.T) {
	busy := func() float64 {
		all := samples(t, host.CPU(here()))
		return all[`upkeep_host_cpu_seconds_total{server="s",mode="user"}`] +
			all[`upkeep_host_cpu_seconds_total{server="s",mode="nice"}`]
	}
	before := busy()
	program(t, "awk", "BEGIN { for (i = 0; i < 10000000; i++) x += i }") // half a second
	if worked := busy() - before; worked < 0.1 {
		t.Errorf("a program computed, and the processors have worked %v s", worked)
	}
}

func TestMemory(t *testing.T) {
	collectortest.HostContract(t, host.Memory)
	got := samples(t, host.Memory(here()))
	free := program(t, "free", "-b")
	word := func(line, column int) float64 {
		v, err := strconv.ParseFloat(free[line][column], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if size := got[`upkeep_host_memory_size_bytes{server="s"}`]; size != word(1, 1) {
		t.Errorf("memory of %v bytes, free says %v", size, word(1, 1))
	}
	if size := got[`upkeep_host_swap_size_bytes{server="s"}`]; size != word(2, 1) {
		t.Errorf("swap of %v bytes, free says %v", size, word(2, 1))
	}
	available, total := got[`upkeep_host_memory_available_bytes{server="s"}`], word(1, 1)
	if math.Abs(available-word(1, 6)) > total/4 { // other tests take and give back memory meanwhile
		t.Errorf("%v bytes are available, free says %v", available, word(1, 6))
	}
	if ratio := got[`upkeep_host_memory_used_ratio{server="s"}`]; math.Abs(ratio-(1-available/total)) > 1e-9 {
		t.Errorf("the used share is %v, of %v bytes %v are available", ratio, total, available)
	}
	before := program(t, "vmstat", "-s")
	got = samples(t, host.Memory(here()))
	after := program(t, "vmstat", "-s")
	page := float64(os.Getpagesize())
	between(t, "swapped in", number(t, before, "pages swapped in")*page,
		got[`upkeep_host_swap_read_bytes_total{server="s"}`], number(t, after, "pages swapped in")*page)
	between(t, "swapped out", number(t, before, "pages swapped out")*page,
		got[`upkeep_host_swap_written_bytes_total{server="s"}`], number(t, after, "pages swapped out")*page)
	kills := func() float64 {
		v, err := strconv.ParseFloat(program(t, "awk", "$1 == \"oom_kill\" { print $2 }", "/proc/vmstat")[0][0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := kills()
	killed := samples(t, host.Memory(here()))[`upkeep_host_oom_kills_total{server="s"}`]
	between(t, "killed", first, killed, kills())
}

// The average of ten seconds that the kernel computes is the growth of the counter.
func TestPressure(t *testing.T) {
	collectortest.HostContract(t, host.Pressure)
	total := func(resource, stalled string) float64 {
		for _, line := range program(t, "cat", "/proc/pressure/"+resource) {
			if line[0] == stalled {
				v, err := strconv.ParseFloat(strings.TrimPrefix(line[4], "total="), 64)
				if err != nil {
					t.Fatal(err)
				}
				return v / 1e6
			}
		}
		t.Fatalf("%s: no line %s", resource, stalled)
		return 0
	}
	for _, of := range [][2]string{{"cpu", "some"}, {"memory", "some"}, {"memory", "full"}, {"io", "some"},
		{"io", "full"}} {
		before := total(of[0], of[1])
		got := samples(t, host.Pressure(here()))
		between(t, of[0]+" "+of[1], before,
			got[`upkeep_host_pressure_seconds_total{server="s",resource="`+of[0]+`",stalled="`+of[1]+`"}`],
			total(of[0], of[1]))
	}
}

// What is written and forced to the disk is counted by one of the disks, and vmstat counts the same.
func TestDisk(t *testing.T) {
	collectortest.HostContract(t, host.Disk)
	disks := program(t, "vmstat", "-d")[2:]
	total := func(direction string) (sum float64) {
		for key, v := range samples(t, host.Disk(here())) {
			if strings.HasPrefix(key, "upkeep_host_disk_bytes_total{") &&
				strings.Contains(key, `direction="`+direction+`"`) {
				sum += v
			}
		}
		return sum
	}
	before := total("write")
	const written = 8 << 20
	name := filepath.Join(t.TempDir(), "written")
	program(t, "dd", "if=/dev/urandom", "of="+name, "bs=1M", "count=8", "conv=fsync")
	if grown := total("write") - before; grown < written {
		t.Errorf("%d bytes were written, and the disks have written %v", written, grown)
	}
	for _, d := range disks { // disk, reads: total merged sectors ms, writes: the same
		key := func(metric, direction string) string {
			return `upkeep_host_disk_` + metric + `{server="s",device="` + d[0] + `",direction="` + direction + `"}`
		}
		got := samples(t, host.Disk(here()))
		if _, exported := got[key("bytes_total", "read")]; !exported {
			continue // a disk in memory
		}
		for _, one := range []struct {
			metric, direction string
			column            int
			unit              float64
		}{{"operations_total", "read", 1, 1}, {"bytes_total", "read", 3, 512}, {"operations_total", "write", 5, 1},
			{"bytes_total", "write", 7, 512}, {"wait_seconds_total", "write", 8, 0.001}} {
			v, err := strconv.ParseFloat(d[one.column], 64)
			if err != nil {
				t.Fatal(err)
			}
			between(t, d[0]+" "+one.metric, v*one.unit, got[key(one.metric, one.direction)], math.Inf(1))
			if got[key(one.metric, one.direction)] > v*one.unit*1.5+1e9 {
				t.Errorf("%s %s is %v, vmstat said %v a moment before", d[0], one.metric,
					got[key(one.metric, one.direction)], v*one.unit)
			}
		}
	}
}

func TestNetwork(t *testing.T) {
	collectortest.HostContract(t, host.Network)
	count := func(device, file string) float64 {
		v, err := strconv.ParseFloat(program(t, "cat", "/sys/class/net/"+device+"/statistics/"+file)[0][0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	links := program(t, "ip", "-o", "link", "show")
	devices := 0
	for _, l := range links {
		device, _, _ := strings.Cut(strings.TrimSuffix(l[1], ":"), "@")
		key := func(metric, direction string) string {
			return `upkeep_host_network_` + metric + `_total{server="s",device="` + device + `",direction="` + direction + `"}`
		}
		before := []float64{count(device, "rx_bytes"), count(device, "tx_packets"), count(device, "rx_errors")}
		got := samples(t, host.Network(here()))
		if _, exported := got[key("bytes", "receive")]; !exported {
			continue
		}
		devices++
		between(t, device+" bytes", before[0], got[key("bytes", "receive")], count(device, "rx_bytes"))
		between(t, device+" packets", before[1], got[key("packets", "transmit")], count(device, "tx_packets"))
		between(t, device+" errors", before[2], got[key("errors", "receive")], count(device, "rx_errors"))
	}
	if devices == 0 {
		t.Errorf("no interface is exported of %v", links)
	}
}

// A machine that is not this one: what its kernel does not have is left out, and
// partitions, loop devices and interfaces of containers are not exported.
func TestAnotherMachine(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/stat", "cpu  1000 200 300 4000 50 6 7 8 0 0\ncpu0 500 100 150 2000 25 3 4 4 0 0\n"+
		"cpu1 500 100 150 2000 25 3 3 4 0 0\nintr 1\nctxt 2\nbtime 1700000000\nprocesses 5\nprocs_running 3\nprocs_blocked 1\n")
	write("proc/loadavg", "0.50 1.25 2.00 2/300 1234\n")
	write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nSwapTotal: 400 kB\nSwapFree: 300 kB\n")
	write("proc/vmstat", "pswpin 2\npswpout 3\n")
	write("proc/diskstats", " 8 0 sda 10 0 20 30 40 0 50 60 0 70 80\n 8 1 sda1 9 0 19 29 39 0 49 59 0 69 79\n"+
		" 7 0 loop0 1 0 1 1 1 0 1 1 0 1 1\n 104 0 cciss/c0d0 1 0 2 3 4 0 5 6 0 7 8\n")
	for _, dir := range []string{"sda", "loop0", "cciss!c0d0"} {
		write("sys/block/"+dir+"/stat", "")
	}
	write("proc/1/net/dev", "Inter-| Receive | Transmit\n face |bytes packets\n"+
		"    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\nveth12: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"+
		"  eth0: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0\n")
	h := &target.Host{Name: "s", Root: root}
	page := strconv.Itoa(os.Getpagesize() * 2)
	for _, one := range []struct {
		collector collectors.Collector
		want      string
	}{
		{host.CPU(h), `upkeep_host_cpu_seconds_total{server="s",mode="user"} 10
upkeep_host_cpu_seconds_total{server="s",mode="nice"} 2
upkeep_host_cpu_seconds_total{server="s",mode="system"} 3
upkeep_host_cpu_seconds_total{server="s",mode="idle"} 40
upkeep_host_cpu_seconds_total{server="s",mode="iowait"} 0.5
upkeep_host_cpu_seconds_total{server="s",mode="irq"} 0.06
upkeep_host_cpu_seconds_total{server="s",mode="softirq"} 0.07
upkeep_host_cpu_seconds_total{server="s",mode="steal"} 0.08
upkeep_host_processor_seconds_total{server="s",processor="0",mode="user"} 5
upkeep_host_processor_seconds_total{server="s",processor="0",mode="nice"} 1
upkeep_host_processor_seconds_total{server="s",processor="0",mode="system"} 1.5
upkeep_host_processor_seconds_total{server="s",processor="0",mode="idle"} 20
upkeep_host_processor_seconds_total{server="s",processor="0",mode="iowait"} 0.25
upkeep_host_processor_seconds_total{server="s",processor="0",mode="irq"} 0.03
upkeep_host_processor_seconds_total{server="s",processor="0",mode="softirq"} 0.04
upkeep_host_processor_seconds_total{server="s",processor="0",mode="steal"} 0.04
upkeep_host_processor_seconds_total{server="s",processor="1",mode="user"} 5
upkeep_host_processor_seconds_total{server="s",processor="1",mode="nice"} 1
upkeep_host_processor_seconds_total{server="s",processor="1",mode="system"} 1.5
upkeep_host_processor_seconds_total{server="s",processor="1",mode="idle"} 20
upkeep_host_processor_seconds_total{server="s",processor="1",mode="iowait"} 0.25
upkeep_host_processor_seconds_total{server="s",processor="1",mode="irq"} 0.03
upkeep_host_processor_seconds_total{server="s",processor="1",mode="softirq"} 0.03
upkeep_host_processor_seconds_total{server="s",processor="1",mode="steal"} 0.04
upkeep_host_cpus{server="s"} 2
upkeep_host_load_average{server="s",over="1m"} 0.5
upkeep_host_load_average{server="s",over="5m"} 1.25
upkeep_host_load_average{server="s",over="15m"} 2
upkeep_host_processes{server="s",state="running"} 3
upkeep_host_processes{server="s",state="blocked"} 1
upkeep_host_boot_timestamp_seconds{server="s"} 1700000000
`},
		{host.Memory(h), `upkeep_host_memory_size_bytes{server="s"} 1024000
upkeep_host_memory_part_bytes{server="s",part="free"} 102400
upkeep_host_swap_size_bytes{server="s"} 409600
upkeep_host_swap_used_bytes{server="s"} 102400
upkeep_host_swap_read_bytes_total{server="s"} ` + page + `
upkeep_host_swap_written_bytes_total{server="s"} ` + strconv.Itoa(os.Getpagesize()*3) + "\n"},
		{host.Pressure(h), ""},
		{host.Disk(h), `upkeep_host_disk_bytes_total{server="s",device="sda",direction="read"} 10240
upkeep_host_disk_bytes_total{server="s",device="sda",direction="write"} 25600
upkeep_host_disk_bytes_total{server="s",device="cciss/c0d0",direction="read"} 1024
upkeep_host_disk_bytes_total{server="s",device="cciss/c0d0",direction="write"} 2560
upkeep_host_disk_operations_total{server="s",device="sda",direction="read"} 10
upkeep_host_disk_operations_total{server="s",device="sda",direction="write"} 40
upkeep_host_disk_operations_total{server="s",device="cciss/c0d0",direction="read"} 1
upkeep_host_disk_operations_total{server="s",device="cciss/c0d0",direction="write"} 4
upkeep_host_disk_wait_seconds_total{server="s",device="sda",direction="read"} 0.03
upkeep_host_disk_wait_seconds_total{server="s",device="sda",direction="write"} 0.06
upkeep_host_disk_wait_seconds_total{server="s",device="cciss/c0d0",direction="read"} 0.003
upkeep_host_disk_wait_seconds_total{server="s",device="cciss/c0d0",direction="write"} 0.006
upkeep_host_disk_busy_seconds_total{server="s",device="sda"} 0.07
upkeep_host_disk_busy_seconds_total{server="s",device="cciss/c0d0"} 0.007
`},
		{host.Network(h), `upkeep_host_network_bytes_total{server="s",device="eth0",direction="receive"} 100
upkeep_host_network_bytes_total{server="s",device="eth0",direction="transmit"} 200
upkeep_host_network_packets_total{server="s",device="eth0",direction="receive"} 10
upkeep_host_network_packets_total{server="s",device="eth0",direction="transmit"} 20
upkeep_host_network_errors_total{server="s",device="eth0",direction="receive"} 1
upkeep_host_network_errors_total{server="s",device="eth0",direction="transmit"} 3
upkeep_host_network_dropped_total{server="s",device="eth0",direction="receive"} 2
upkeep_host_network_dropped_total{server="s",device="eth0",direction="transmit"} 4
`},
	} {
		if diff := cmp.Diff(one.want, collectortest.Answer(t, one.collector)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", one.collector.Name, diff)
		}
	}
	if err := os.RemoveAll(filepath.Join(root, "proc")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []collectors.Collector{host.CPU(h), host.Memory(h), host.Pressure(h), host.Disk(h), host.Network(h)} {
		w := collectors.NewWriter(c)
		if err := c.Collect(t.Context(), w); err == nil || w.Samples() != 0 {
			t.Errorf("%s: a machine that shows nothing: error %v, and %s", c.Name, err, w.Text())
		}
	}
}

// Reading them costs next to nothing: a second of a core pays for a day of each.
func BenchmarkMachine(b *testing.B) {
	for _, c := range []collectors.Collector{host.CPU(here()), host.Memory(here()), host.Pressure(here()),
		host.Disk(here()), host.Network(here())} {
		b.Run(c.Name, func(b *testing.B) {
			w := collectors.NewWriter(c)
			began := time.Now()
			for b.Loop() {
				w.Reset()
				if err := c.Collect(b.Context(), w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(time.Since(began).Microseconds())/float64(b.N), "µs/collection")
		})
	}
}
