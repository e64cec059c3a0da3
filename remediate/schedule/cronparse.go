package schedule

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// A field is one of the five of an expression.
type field struct {
	name     string
	min, max int
	names    string // three letters each, the first for min
}

func (f field) want() string {
	if f.names != "" {
		return fmt.Sprintf("%d to %d, or %s to %s", f.min, f.max, f.names[:3], f.names[len(f.names)-3:])
	}
	return fmt.Sprintf("%d to %d", f.min, f.max)
}

const (
	monthNames   = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
	weekdayNames = "SUNMONTUEWEDTHUFRISAT"
)

func fields() [5]field {
	return [5]field{
		{"minute", 0, 59, ""},
		{"hour", 0, 23, ""},
		{"day of month", 1, 31, ""},
		{"month", 1, 12, monthNames},
		{"day of week", 0, 7, weekdayNames},
	}
}

// longForm returns the long form of a short form.
func longForm(text string) (string, error) {
	switch strings.ToLower(text) {
	case "@hourly":
		return "0 * * * *", nil
	case "@daily", "@midnight":
		return "0 0 * * *", nil
	case "@weekly":
		return "0 0 * * 0", nil
	case "@monthly":
		return "0 0 1 * *", nil
	case "@yearly", "@annually":
		return "0 0 1 1 *", nil
	}
	return "", fmt.Errorf("%q is no short form; there are @hourly, @daily (@midnight), @weekly, @monthly and @yearly "+
		"(@annually)", text)
}

// ParseCron reads a cron expression. The error names the field, what is wrong with
// it and what is right.
func ParseCron(text string) (Cron, error) {
	c, err := parseCron(text)
	if err != nil {
		return Cron{}, fmt.Errorf("cron %q: %w", text, err)
	}
	return c, nil
}

func parseCron(text string) (c Cron, err error) {
	words := strings.Fields(text)
	if len(words) == 1 && strings.HasPrefix(words[0], "@") {
		long, err := longForm(words[0])
		if err != nil {
			return c, err
		}
		words = strings.Fields(long)
	}
	if len(words) != 5 {
		return c, fmt.Errorf("it has %d fields; want five: minute, hour, day of month, month, day of week (\"0 3 * * "+
			"*\" is daily at three)", len(words))
	}
	for i, f := range fields() {
		for item := range strings.SplitSeq(words[i], ",") {
			if err := c.add(f, item); err != nil {
				return c, fmt.Errorf("%s %q: %w", f.name, item, err)
			}
		}
	}
	return c, c.joinDays(words[2], words[4])
}

// joinDays settles how the two day fields are taken together, and refuses days that
// never come.
func (c *Cron) joinDays(dayText, weekdayText string) error {
	if dayText != "*" && weekdayText != "*" {
		if strings.Contains(dayText, "*") || strings.Contains(weekdayText, "*") {
			return fmt.Errorf("days %q and %q: crons do not agree whether a step of * in one day field and days in "+
				"the other mean both or either; write the days as a list, like 1,3,5", dayText, weekdayText)
		}
		if c.anyDay() || c.anyWeekday() { // either is enough, and one is always so
			c.days, c.weekdays = everyDay, everyWeekday
		}
	}
	if c.anyDay() {
		c.lastDay = false
	}
	if c.anyWeekday() {
		c.nthWeekdays, c.lastWeekdays = 0, 0
	}
	c.forgetCovered()
	if c.anyDay() || !c.anyWeekday() || c.lastDay {
		return nil
	}
	least := bits.TrailingZeros32(c.days)
	for month := 1; month <= 12; month++ {
		if c.months>>month&1 == 1 && least <= longest(month) {
			return nil
		}
	}
	return fmt.Errorf("it never matches: day %d is in none of its months; L as day of month is the last one", least)
}

// forgetCovered drops those weekdays of the month that come every week anyway, so
// that what means the same is the same.
func (c *Cron) forgetCovered() {
	for n := range 5 {
		c.nthWeekdays &^= uint64(c.weekdays) << (n * 7)
	}
	c.lastWeekdays &^= c.weekdays
}

// longest returns how many days a month can have.
func longest(month int) int {
	switch month {
	case 2:
		return 29
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// add takes one item of a field's list into c.
func (c *Cron) add(f field, item string) error {
	if f.name == "day of month" && strings.EqualFold(item, "L") {
		c.lastDay = true
		return nil
	}
	if day, which, ok := strings.Cut(item, "#"); ok && f.names == weekdayNames {
		return c.addOfMonth(f, day, which)
	}
	first, last, step, err := f.parse(item)
	if err != nil {
		return err
	}
	for v := first; v <= last; v += step {
		switch f.name {
		case "minute":
			c.minutes |= 1 << v
		case "hour":
			c.hours |= 1 << v
		case "day of month":
			c.days |= 1 << v
		case "month":
			c.months |= 1 << v
		default:
			c.weekdays |= 1 << (v % 7)
		}
	}
	return nil
}

// addOfMonth takes SUN#1 or SUN#L.
func (c *Cron) addOfMonth(f field, day, which string) error {
	v, err := f.value(day)
	if err != nil {
		return err
	}
	v %= 7
	if strings.EqualFold(which, "L") {
		c.lastWeekdays |= 1 << v
		return nil
	}
	if len(which) != 1 || which[0] < '1' || which[0] > '5' {
		return fmt.Errorf("#%s: want #1 to #5 for the first to the fifth of the month, or #L for the last", which)
	}
	c.nthWeekdays |= 1 << (int(which[0]-'1')*7 + v)
	return nil
}

// parse reads *, a value or a range, with a step perhaps.
func (f field) parse(item string) (first, last, step int, err error) {
	span, by, stepped := strings.Cut(item, "/")
	from, to, ranged := strings.Cut(span, "-")
	switch {
	case span == "*":
		first, last = f.min, f.last()
	case ranged:
		first, err = f.value(from)
		if err == nil {
			last, err = f.value(to)
		}
		if f.names == weekdayNames {
			first, last = week(first, last)
		}
		if err == nil && first > last {
			err = fmt.Errorf("the range goes backwards; write it as two: %s-%d,%d-%s", from, f.last(), f.min, to)
		}
	default:
		first, err = f.value(span)
		last = first
		if err == nil && stepped {
			err = fmt.Errorf("a step needs a range; write %s-%d/%s or */%s", span, f.last(), by, by)
		}
	}
	if err != nil || !stepped {
		return first, last, 1, err
	}
	step, ok := number(by)
	if !ok || step < 1 || step > f.max {
		return 0, 0, 0, fmt.Errorf("step %q: want 1 to %d", by, f.max)
	}
	return first, last, step, nil
}

// last returns the last value that is not another one again, as Sunday's 7 is.
func (f field) last() int {
	if f.names == weekdayNames {
		return 6
	}
	return f.max
}

// week takes Sunday for the end of a week or for its begin, as the range has it.
func week(first, last int) (int, int) {
	switch {
	case last == 0 && first > 0:
		return first, 7
	case first == 7 && last < 7:
		return 0, last
	}
	return first, last
}

func (f field) value(text string) (int, error) {
	if text == "" {
		return 0, errors.New("a value is missing; want " + f.want())
	}
	if len(text) == 3 {
		if i := strings.Index(f.names, strings.ToUpper(text)); i >= 0 && i%3 == 0 {
			return f.min + i/3, nil
		}
	}
	v, ok := number(text)
	if !ok || v < f.min || v > f.max {
		return 0, errors.New("want " + f.want())
	}
	return v, nil
}

// number reads digits alone: no sign, and no more than any field could want.
func number(text string) (int, bool) {
	if text == "" || len(text) > 4 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.Atoi(text)
	return v, err == nil
}

// String writes the expression so that ParseCron reads the same again. What means
// the same is written the same.
func (c Cron) String() string {
	return strings.Join([]string{
		steps(c.minutes, 0, 59),
		steps(uint64(c.hours), 0, 23),
		c.dayText(),
		steps(uint64(c.months), 1, 12),
		c.weekdayText(),
	}, " ")
}

// steps writes a set as * or a step of it where it is one, and else as a list.
func steps(set uint64, first, last int) string {
	for step := 1; step <= (last-first+1)/2; step++ {
		var all uint64
		for v := first; v <= last; v += step {
			all |= 1 << v
		}
		switch {
		case all != set:
		case step == 1:
			return "*"
		default:
			return "*/" + strconv.Itoa(step)
		}
	}
	return strings.Join(list(set, strconv.Itoa), ",")
}

// list writes a set as values and ranges.
func list(set uint64, name func(int) string) (items []string) {
	for set != 0 {
		first := bits.TrailingZeros64(set)
		length := bits.TrailingZeros64(^(set >> first))
		last := first + length - 1
		set &^= (1<<length - 1) << first
		switch length {
		case 1:
			items = append(items, name(first))
		case 2:
			items = append(items, name(first), name(last))
		default:
			items = append(items, name(first)+"-"+name(last))
		}
	}
	return items
}

func (c Cron) dayText() string {
	if c.anyDay() {
		return "*"
	}
	items := list(uint64(c.days), strconv.Itoa)
	if c.lastDay {
		items = append(items, "L")
	}
	return strings.Join(items, ",")
}

func (c Cron) weekdayText() string {
	if c.anyWeekday() {
		return "*"
	}
	items := list(uint64(c.weekdays), weekdayName)
	for n := range 5 {
		for day := range 7 {
			if c.nthWeekdays>>(n*7+day)&1 == 1 {
				items = append(items, fmt.Sprintf("%s#%d", weekdayName(day), n+1))
			}
		}
	}
	for day := range 7 {
		if c.lastWeekdays>>day&1 == 1 {
			items = append(items, weekdayName(day)+"#L")
		}
	}
	return strings.Join(items, ",")
}

func weekdayName(day int) string { return weekdayNames[day*3 : day*3+3] }
