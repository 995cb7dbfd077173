package org.transnormer.cuda;

/** {@code -Dtnl.trace.cuda}: one line on the standard error stream for every call into NVIDIA's libraries. */
final class Trace {
    /** A constant to the compiler, so that it costs nothing when it is off. */
    static final boolean ON = !"false".equals(System.getProperty("tnl.trace.cuda", "false"));

    private Trace() {}

    static void call(String api, Object detail, int code) {
        System.err.println("cuda: " + api + (detail == null ? "" : "(" + detail + ")") + (code == 0 ? ""
                : " -> " + code));
    }

    static void note(String text) {
        if (ON) {
            System.err.println("cuda: " + text);
        }
    }
}
