/* Nanoseconds of JFR's begin+commit of an event with an int and a string, at a depth of 16 frames, and without.
 *
 * usage: java -cp DIR -XX:StartFlightRecording:... Flight EVENTS LOOPS ON
 * Prints one number a loop, of the thread's processor time; the first are cold. ON is 1, or 0 for the loop alone.
 */

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import jdk.jfr.Event;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

public class Flight {
    @Name("app.event")
    @StackTrace(true)
    static class Happened extends Event {
        long number;
        String text;
    }

    static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    static volatile long sink;

    static void one(boolean on, int i) {
        if (on) {
            Happened event = new Happened();
            event.begin();
            event.number = 1;
            event.text = "x";
            event.commit();
        } else {
            sink = i;
        }
    }

    static double loop(int events, boolean on) {
        long begin = THREADS.getCurrentThreadCpuTime();
        for (int i = 0; i < events; i++) {
            one(on, i);
        }
        return (THREADS.getCurrentThreadCpuTime() - begin) / (double) events;
    }

    static double deeper(int left, int events, boolean on) {
        return left > 0 ? deeper(left - 1, events, on) : loop(events, on);
    }

    public static void main(String[] words) {
        int events = Integer.parseInt(words[0]);
        boolean on = words[2].equals("1");
        for (int i = 0; i < Integer.parseInt(words[1]); i++) {
            // main, 13 of deeper, loop and one: 16 frames
            System.out.printf("%.2f%n", deeper(12, events, on));
        }
    }
}
