package org.transnormer.launch;

import org.transnormer.InputException;

/** Slurm's way to write many hosts: {@code gpu[01-04,07]-ib,login1}. Only the first is of use. */
final class HostList {
    private static final String CURE = "give rank 0's host in MASTER_ADDR";
    private final String variable;
    private final String text;
    private int at;

    private HostList(String variable, String text) {
        this.variable = variable;
        this.text = text;
    }

    /**
     * The first host of a list.
     *
     * @param variable that holds it, for the error
     * @throws InputException if the text is no such list
     */
    static String first(String variable, String text) {
        return new HostList(variable, text).first();
    }

    private String first() {
        StringBuilder host = new StringBuilder();
        for (; at < text.length() && text.charAt(at) != ','; at++) {
            host.append(text.charAt(at) == '[' ? firstNumber() : name(text.charAt(at)));
        }
        if (host.isEmpty()) {
            throw wrong("names no host");
        }
        return host.toString();
    }

    /** Goes to the closing bracket; digits keep their leading zeros. */
    private String firstNumber() {
        int close = text.indexOf(']', at);
        if (close < 0) {
            throw wrong("has a bracket that does not close");
        }
        String inside = text.substring(at + 1, close);
        at = close;
        if (!inside.matches("\\d+(-\\d+)?(,\\d+(-\\d+)?)*")) {
            throw wrong("has [%s] where numbers and ranges belong".formatted(shown(inside)));
        }
        return inside.split("[,-]", 2)[0];
    }

    private char name(char c) {
        if (c < 128 && Character.isLetterOrDigit(c) || c == '-' || c == '.' || c == '_') {
            return c;
        }
        throw wrong("has a character that no host name has");
    }

    private InputException wrong(String what) {
        return new InputException(variable, "'%s' %s".formatted(shown(text), what), CURE);
    }

    private static String shown(String text) {
        return (text.length() > 100 ? text.substring(0, 100) + "..." : text).replaceAll("[\\p{Cntrl}\\v]", "?");
    }
}
