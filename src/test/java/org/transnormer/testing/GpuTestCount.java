package org.transnormer.testing;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClasspathRoots;

import java.nio.file.Path;
import java.util.Set;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Prints, at the end of a build without a GPU, how many tests the build left out: asked of the test engines themselves,
 * so that the number is what {@code -Pgpu} would run.
 */
public final class GpuTestCount {
    /** Surefire's default choice of test classes. */
    static final String TEST_CLASSES = "(.*\\.)?(Test[^.$]*|[^.$]*(Test|Tests|TestCase))";

    private GpuTestCount() {}

    public static void main(String[] args) {
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
                .selectors(selectClasspathRoots(Set.of(Path.of(args[0]))))
                .filters(ClassNameFilter.includeClassNamePatterns(TEST_CLASSES), TagFilter.includeTags("gpu")).build();
        TestPlan plan = LauncherFactory.create().discover(request);
        System.out.println("GPU tests skipped: " + count(plan) + " (run with -Pgpu)");
    }

    /** A parameterized test counts once: how often it runs is known only when it runs. */
    static long count(TestPlan plan) {
        return plan.countTestIdentifiers(test -> isLeaf(plan, test));
    }

    private static boolean isLeaf(TestPlan plan, TestIdentifier test) {
        return test.getParentId().isPresent() && plan.getChildren(test).isEmpty();
    }
}
