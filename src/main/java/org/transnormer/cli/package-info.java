/** The command line: {@link org.transnormer.cli.Tnl} and one class for each subcommand. */
package org.transnormer.cli;
