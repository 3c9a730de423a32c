import os,sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import main, boot, wait_for, ping
from vm import *
import test_vm, time
def test(tap):
    host = VmHost()
    host.ready()
    test_vm.start_switch(host)
    a = VmGuest(host, 0, ["--net vhost-user:/tmp/a.sock,queues=2"], "10.9.0.1/24", smp=1, args=os.environ.get("ARGS","--trace walk"))
    if "QUICK" in os.environ:
        time.sleep(12)
        text=host.run("cat /tmp/vm0; ps aux | grep vhu; dmesg | tail -5")
        print(text[:3000]); open("/tmp/vmm-trace.txt","w").write(text)
        return
    b = VmGuest(host, 1, ["--net vhost-user:/tmp/b.sock"], "10.9.0.2/24")
    boot(a, b)
    print(ping(a, "10.9.0.2"))
    text=host.run("cat /tmp/vm0")
    open("/tmp/vmm-trace.txt","w").write(text)
    print(a.exits())
    print(host.run("ps -o pid,rss,vsz,args | grep 'vhu vm' | head -2; grep -i rss /proc/$(cat /tmp/vm0.pid)/status"))
main(test)
