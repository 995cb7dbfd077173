package org.transnormer.launch;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.transnormer.EnvironmentException;
import org.transnormer.parallel.Relayed;
import org.transnormer.tensor.Tensor;

/**
 * A process that is a rank: meets the others, agrees, makes steps in which all ranks add something, and ends. What goes
 * wrong is said by arguments {@code name=value}; times are short.
 */
final class TestRank {
    private static final int LONG = 20_000;
    private final Map<String, String> options = new HashMap<>();
    private final CountDownLatch closed = new CountDownLatch(1);
    private final Job job;

    private TestRank(String[] arguments) {
        for (String argument : arguments) {
            options.put(argument.split("=")[0], argument.split("=")[1]);
        }
        Rank rank = Rank.of(System.getenv());
        job = RankedJob.join(rank, System.getenv(), "1",
                new Timings(Duration.ofMillis(number("meeting", LONG)), Duration.ofSeconds(2), Duration.ofMillis(100),
                        Duration.ofMillis(number("silence", LONG)), Duration.ofMillis(number("hung", LONG))));
    }

    public static void main(String[] arguments) throws InterruptedException {
        try {
            System.exit(new TestRank(arguments).run());
        } catch (JobException e) {
            System.err.println("tnl: " + e.getMessage());
            System.exit(e.status());
        } catch (EnvironmentException e) {
            System.err.println("tnl: " + e.getMessage());
            System.exit(3);
        } catch (IllegalArgumentException e) {
            System.err.println("tnl: " + e.getMessage());
            System.exit(2);
        }
    }

    private int run() throws InterruptedException {
        say("met");
        if (isAt("wait", 0)) {
            Thread.sleep(60_000);
        }
        job.agree(List.of("a: 1", isAt("disagree", 0) ? "b: 3" : "b: 2", "c: 3"));
        if (number("allAtOnce", 0) == 1) {
            job.fail(3, "everything is wrong");
        }
        say("together " + job.gather("names", new byte[] {(byte) (10 + job.rank())}).stream()
                .map(bytes -> bytes[0]).toList());
        Runtime.getRuntime().addShutdownHook(new Thread(this::onSignal));
        Relayed all = Relayed.of(job, job::collective);
        Tensor x = Tensor.of(0, 0, 0);
        long steps = number("steps", 5);
        long step = 1;
        for (; step <= steps && job.mayStep(step); step++) {
            job.step(step);
            act(step);
            for (int i = 0; i < x.size(); i++) {
                x.set(i, job.rank() + i);
            }
            all.allReduceSum(x);
            if (number("pause", 0) > 0) {
                Thread.sleep(number("pause", 0));
            }
            if (step == 1) {
                say("first " + x.get(0) + " " + x.get(2));
            }
        }
        job.phase(Phase.SAVING);
        if (isAt("slow", 0)) {
            Thread.sleep(number("for", 0));
        }
        say("stopped " + (step - 1));
        job.close();
        closed.countDown();
        return step <= steps ? RankedJob.TERMINATED : 0;
    }

    private void onSignal() {
        job.requestStop();
        try {
            closed.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** {@code hang=1@3}: rank 1 at step 3; {@code slow=1}: rank 1 where there are no steps. */
    private boolean isAt(String what, long step) {
        return (job.rank() + (step == 0 ? "" : "@" + step)).equals(options.get(what));
    }

    private void act(long step) throws InterruptedException {
        if (isAt("hang", step)) {
            Thread.sleep(60_000);
        }
        if (isAt("fail", step)) {
            System.err.println("of my own");
            job.fail(70, "broke");
        }
        if (isAt("exit", step)) {
            Runtime.getRuntime().halt(9);
        }
    }

    private long number(String name, long usual) {
        return options.containsKey(name) ? Long.parseLong(options.get(name)) : usual;
    }

    private void say(String what) {
        System.out.println(job.rank() + " " + what);
        System.out.flush();
    }
}
