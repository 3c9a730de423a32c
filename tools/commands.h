/* SPDX-License-Identifier: MIT */
/*
 * The subcommands of vhu: what main() can call, and nothing of what they do.
 *
 * argv[0] is the subcommand's name. Each understands --help and -h. The result is the exit status:
 * 0 all well, 1 it could not be done, 2 the command line is wrong.
 */
#ifndef COMMANDS_H
#define COMMANDS_H

int cmd_switch(int argc, char **argv);
int cmd_ctl(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_tap(int argc, char **argv);
int cmd_vm(int argc, char **argv);

#endif
