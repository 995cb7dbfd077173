package org.transnormer.testing;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClasspathRoots;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs tests where there is no Maven: {@code TestRun CLASS...} runs these classes, {@code TestRun FOLDER TAG} all tests
 * with that tag of the classes below it. One line a test; status 1 if one failed or none ran. {@code TestRun list FOLDER
 * TAG} prints the names of the classes that have such tests, and runs nothing.
 */
public final class TestRun implements TestExecutionListener {
    private final PrintStream out;
    private int passed;
    private int failed;
    private int skipped;

    private TestRun(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) throws ClassNotFoundException {
        var builder = LauncherDiscoveryRequestBuilder.request();
        if (args[0].equals("list")) {
            list(tagged(builder, args[1], args[2]).build());
            return;
        }
        if (args.length == 2 && args[0].contains("/")) {
            tagged(builder, args[0], args[1]);
        } else {
            List<DiscoverySelector> classes = Arrays.stream(args).map(name -> (DiscoverySelector) selectClass(name))
                    .toList();
            builder.selectors(classes);
        }
        LauncherDiscoveryRequest request = builder.build();
        TestRun run = new TestRun(System.out);
        LauncherFactory.create().execute(request, run);
        System.out.println("%d passed, %d failed, %d skipped".formatted(run.passed, run.failed, run.skipped));
        System.out.flush();
        System.exit(run.failed > 0 || run.passed == 0 ? 1 : 0);
    }

    private static LauncherDiscoveryRequestBuilder tagged(LauncherDiscoveryRequestBuilder builder, String folder,
            String tag) {
        return builder.selectors(selectClasspathRoots(Set.of(Path.of(folder))))
                .filters(ClassNameFilter.includeClassNamePatterns(GpuTestCount.TEST_CLASSES),
                        TagFilter.includeTags(tag));
    }

    private static void list(LauncherDiscoveryRequest request) {
        TestPlan plan = LauncherFactory.create().discover(request);
        plan.getRoots().stream().flatMap(root -> plan.getDescendants(root).stream())
                .flatMap(test -> test.getSource().stream()).filter(ClassSource.class::isInstance)
                .map(source -> ((ClassSource) source).getJavaClass().getNestHost().getName()).distinct().sorted()
                .forEach(System.out::println);
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
        skipped++;
        out.println("skip " + name(test) + ": " + reason);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        switch (result.getStatus()) {
            case SUCCESSFUL -> {
                if (test.isTest()) {
                    passed++;
                    out.println("ok   " + name(test));
                }
            }
            case ABORTED -> {
                skipped++;
                out.println("skip " + name(test) + ": " + result.getThrowable().map(Throwable::getMessage).orElse(""));
            }
            case FAILED -> {
                failed++;
                out.println("FAIL " + name(test));
                result.getThrowable().ifPresent(thrown -> thrown.printStackTrace(out));
            }
        }
    }

    private static String name(TestIdentifier test) {
        return test.getLegacyReportingName();
    }
}
